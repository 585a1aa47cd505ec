"""The load generator as the tuner's bench: one trace, replayed on the server at one setting after another."""

from __future__ import annotations

import secrets
import tempfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from math import nan
from pathlib import Path
from typing import Final, Protocol

import msgspec
import numpy as np
from msgspec.structs import replace as changed

from paceline.app.tuning.other_load import Reading
from paceline.base.errors import ConfigError, PacelineError, TrialFailed
from paceline.measure.exchange import exchange
from paceline.measure.load.bodies import prefixed
from paceline.measure.load.request import serialise
from paceline.measure.load.schedule import Schedule
from paceline.measure.load.words import WORDS
from paceline.measure.plan import Plan
from paceline.measure.records.record import RunFile, Tier
from paceline.measure.server_watch import ServerWatch
from paceline.measure.session import Onlooker, Prepared, carry_out, prepare
from paceline.tune.bench import LiveRun
from paceline.tune.calibrate.batch_log import BatchLog
from paceline.tune.journal import DISTURBED_PERCENT
from paceline.tune.observation import Observation
from paceline.tune.setting import Setting
from paceline.tune.workload import Workload

PROBE_TIMEOUT_S: Final = 30.0
FIRST_TOKEN_ID: Final = 2_000
"""Probes are token ids; those below are special ones and punctuation in every vocabulary we know."""
TOKEN_IDS: Final = 20_000
REFUSED: Final = {429, 503}
"""Of a probe that the server did not take: its gate knows its own limits, and nothing has failed."""


class TunedServer(Protocol):
    """How settings reach the server: its admin page, or a restart."""

    def try_out(self, setting: Setting) -> None:
        """Put it on trial. Raises TrialFailed."""

    def take_batches(self) -> BatchLog:
        """What it ran since the last call. Raises PacelineError when it does not answer."""

    def revert(self) -> None:
        """Back to the baseline."""

    def keep(self, setting: Setting) -> None:
        """For good. Raises TrialFailed."""

    def alive(self) -> bool:
        """Whether it answers."""


class LoadBench:
    """See `tune.bench.Bench`. Every run sends the trace's texts behind two words of its own, so nothing is cached."""

    def __init__(
        self,
        plan: Plan,
        server: TunedServer,
        *,
        interrupted: Callable[[], bool] = lambda: False,
        supply: Iterator[str] | None = None,
        patience: int = 0,
    ) -> None:
        """Benches of one `supply` never send the same text twice. Raises ConfigError for a plan that cannot be run.

        A run in which others used more than `DISTURBED_PERCENT` of the machine is repeated up to `patience` times.
        """
        self._plan = plan
        self._server = server
        self._interrupted = interrupted
        self._prefixes = prefixes() if supply is None else supply
        self._probes = count(secrets.randbits(63))
        self._whole: RunFile | None = None
        self._patience = patience
        self._watch = ServerWatch(plan.target.url, insecure=plan.target.insecure)
        self._schedule = prepare(plan).schedule
        if not len(self._schedule.at_ns):
            raise ConfigError("a closed loop has no trace to replay; give --rate or --trace", param="rate")
        # What the simulator will not replay is said before any of it is sent: a trace with gaps.
        Workload.from_requests(np.array(self._schedule.at_ns) / 1e9, [1] * len(self._schedule.at_ns))
        self.requests = len(self._schedule.at_ns)
        self.duration_s = self._schedule.duration_ns / 1e9

    def run(self, setting: Setting, *, speed: float = 1.0, part: tuple[int, int] | None = None) -> LiveRun:
        """See `Bench.run`."""
        self._server.try_out(setting)
        for again in range(self._patience, -1, -1):
            self.take_batches()
            before = self._reading()
            run = self._replay(speed, part)
            others = None if before is None else before.others_percent(self._reading() or before)
            if not self._server.alive():
                raise TrialFailed("the server died during the run")
            if others is None or others <= DISTURBED_PERCENT or not again:
                break
        if self._whole is None and part is None:
            self._whole = run
        return LiveRun(observation_of(run, others), self.take_batches())

    def _reading(self) -> Reading | None:
        """Processor time so far; None for a server elsewhere, whose neighbours we do not see."""
        processes = self._watch.processes()
        return Reading.of(processes) if processes else None

    def _replay(self, speed: float, part: tuple[int, int] | None) -> RunFile:
        prepared = prepare(
            changed(self._plan, payload=changed(self._plan.payload, prefix=next(self._prefixes)))
        )
        prepared = replace(prepared, schedule=cut(prepared.schedule, speed, part))
        onlooker = Onlooker(interrupted=self._interrupted)
        with tempfile.TemporaryDirectory(prefix="paceline-tune-") as folder:
            try:
                run = carry_out(prepared, Path(folder) / "trial.records", onlooker)
            except PacelineError as error:
                raise TrialFailed(error.message) from None
        if self._interrupted():
            raise KeyboardInterrupt
        return run

    def trace(self) -> Workload:
        """See `Bench.trace`."""
        assert self._whole is not None, "a whole run tells how long texts are"
        return workload_of(prepare(self._plan), self._whole)

    def probe(self, rows: int, length: int) -> None:
        """See `Bench.probe`; the answer does not matter, what the server then tells of its batches does."""
        if self._interrupted():
            raise KeyboardInterrupt
        source = np.random.default_rng(next(self._probes))
        ids = source.integers(FIRST_TOKEN_ID, FIRST_TOKEN_ID + TOKEN_IDS, (rows, length)).tolist()
        body = msgspec.json.encode({"model": self._plan.payload.model, "input": ids})
        request = serialise(changed(self._plan, keep_alive=False), body)
        try:
            answer = exchange(self._plan.target, request, PROBE_TIMEOUT_S)
        except PacelineError as error:
            raise TrialFailed(error.message) from None
        if answer.status >= 500 and answer.status not in REFUSED:
            raise TrialFailed(
                f"a probe of {rows} x {length} tokens was answered {answer.status}: {answer.excerpt()}"
            )

    def take_batches(self) -> BatchLog:
        """See `Bench.take_batches`."""
        try:
            return self._server.take_batches()
        except PacelineError as error:
            raise TrialFailed(error.message) from None

    def revert(self) -> None:
        """See `Bench.revert`."""
        self._server.revert()

    def keep(self, setting: Setting) -> None:
        """See `Bench.keep`."""
        self._server.keep(setting)


def prefixes() -> Iterator[str]:
    """Two words for each run, all pairs in turn.

    They begin at a pair drawn anew: a second tune of the same server with the same seed must not find its texts cached.
    """
    words = len(WORDS)
    for turn in count(secrets.randbelow(words**2)):
        first, second = divmod(turn % words**2, words)
        yield f"{WORDS[first]} {WORDS[second]}"


def cut(schedule: Schedule, speed: float, part: tuple[int, int] | None) -> Schedule:
    """Some of the requests, from 0 on, at another speed."""
    first, last = part or (0, len(schedule.at_ns))
    chosen = schedule.at_ns[first:last]
    at_ns = array("q", (round((at - chosen[0]) / speed) for at in chosen))
    gap_ns = at_ns[-1] // max(1, len(at_ns) - 1)
    duration_ns = at_ns[-1] + max(gap_ns, 1_000_000)
    return replace(
        schedule,
        at_ns=at_ns,
        stage=array("H", bytes(2 * len(at_ns))),
        request=schedule.request[first:last],
        duration_ns=duration_ns,
        stage_ends_ns=(duration_ns,),
        stage_names=("trace",),
        levels=(len(at_ns) / duration_ns * 1e9,),
    )


def observation_of(run: RunFile, others_percent: float | None = None) -> Observation:
    """What the records of one run say, and how much of the machine others used meanwhile."""
    columns = run.columns
    latency_ms = np.full(run.header.scheduled or len(columns), nan)
    failed = 0
    for index, intended, last, failure in zip(
        columns.index, columns.intended_ns, columns.last_ns, columns.failure, strict=True
    ):
        if failure:
            failed += 1
        else:
            latency_ms[index] = (last - intended) / 1e6
    metrics: dict[str, float] = {} if others_percent is None else {"others_percent": others_percent}
    tiers = [tier for tier, failure in zip(columns.tier, columns.failure, strict=True) if not failure]
    if tiers and Tier.UNKNOWN not in tiers:  # some servers tell only of hits
        metrics["hit_percent"] = 100.0 * sum(tier == Tier.HIT for tier in tiers) / len(tiers)
    looks = [look for look in run.server if look.at_s > 0.0]
    memory = [look.memory_bytes for look in looks if look.memory_bytes is not None]
    depth = [look.queue_depth for look in looks if look.queue_depth is not None]
    if memory:
        metrics["memory_gb"] = max(memory) / 1e9
    if depth:
        metrics["queue_depth"] = max(depth)
    return Observation(
        latency_ms,
        sent=len(columns),
        failed=failed,
        duration_s=run.header.duration_s,
        cpu_s=_cpu_s(run),
        metrics=metrics,
    )


def _cpu_s(run: RunFile) -> float | None:
    """CPU seconds of the server between the first look and the last."""
    used, before = 0.0, None
    for look in run.server:
        if before is not None and look.cpu_percent is not None:
            used += look.cpu_percent / 100 * (look.at_s - before) * run.header.host.cores
        before = look.at_s
    return used or None


def workload_of(prepared: Prepared, run: RunFile) -> Workload:
    """Arrivals as scheduled, lengths as the server counted them, and which texts are the same."""
    schedule = prepared.schedule
    columns = run.columns
    tokens = np.zeros(len(schedule.at_ns), dtype=np.int32)
    for index, counted in zip(columns.index, columns.prompt_tokens, strict=True):
        tokens[index] = counted
    known = tokens[tokens > 0]
    tokens[tokens <= 0] = int(np.median(known)) if len(known) else 16  # refused ones were not counted
    keys: dict[bytes, int] = {}
    key = [keys.setdefault(prepared.payloads[which], len(keys)) for which in schedule.request]
    return Workload.from_requests(np.array(schedule.at_ns) / 1e9, tokens, np.array(key, dtype=np.int32))


__all__ = ["LoadBench", "TunedServer", "cut", "observation_of", "prefixed", "prefixes", "workload_of"]

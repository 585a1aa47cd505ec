"""Records files with a known truth, without the run."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate

from paceline.measure.engine.seconds import Seconds
from paceline.measure.failure import Failure
from paceline.measure.plan import ClosedLoop, Load, OpenLoop, Payload, Plan, Stage, Target
from paceline.measure.records.histogram import Histogram
from paceline.measure.records.record import Columns, Header, RunFile, Second, ServerSample, Tokens, WorkerEnd
from paceline.measure.report import Host

HOST = Host("9f3a62c1", "bench-04", "EPYC", 2, 8_000_000_000, "Linux 6.8", "3.11.9")
MS = 1_000_000
S = 1_000_000_000
STREAMED = Payload(task="chat", stream=True)

Row = tuple[int, ...]


def row(index: int, due_ns: int, latency_ns: int, **changes: int) -> Row:
    """A good answer that left 20 us late; `changes` by the name of the column."""
    values = {
        "index": index,
        "stage": 0,
        "intended_ns": due_ns,
        "sent_ns": due_ns + 20_000,
        "first_ns": due_ns + latency_ns,
        "last_ns": due_ns + latency_ns,
        "status": 200,
        "failure": 0,
        "received_bytes": 100,
        "prompt_tokens": -1,
        "completion_tokens": -1,
        "token_events": 0,
        "tier": 0,
    }
    return tuple((values | changes).values())


def failed(index: int, due_ns: int, failure: Failure, status: int = 0) -> Row:
    """A request without a good answer."""
    return row(index, due_ns, 5 * MS, failure=failure, status=status, received_bytes=0)


def streamed(index: int, due_ns: int, times_ns: Sequence[int], usage: int | None = None) -> Row:
    """A good answer whose tokens came at `times_ns`; `usage` is what the server says, else it agrees."""
    return row(
        index,
        due_ns,
        times_ns[-1] - due_ns,
        first_ns=times_ns[0],
        prompt_tokens=5,
        completion_tokens=len(times_ns) if usage is None else usage,
        token_events=len(times_ns),
    )


def constant_rate(rate: float, duration_s: float, name: str = "") -> OpenLoop:
    return OpenLoop((Stage(duration_s, rate, name=name),))


def users(number: int, duration_s: float, requests: int | None = None) -> ClosedLoop:
    return ClosedLoop((Stage(duration_s, number),), requests=requests)


def plan(load: Load, **changes: object) -> Plan:
    """Without a warm-up, if `changes` does not say otherwise."""
    return Plan(**{"target": Target("http://localhost:8080/"), "load": load, "warmup_s": 0.0} | changes)


def lag(ns: int) -> dict[int, int]:
    """Of a worker that was always so late."""
    histogram = Histogram()
    for _ in range(100):
        histogram.record(ns)
    return histogram.counts


def worker(**changes: object) -> WorkerEnd:
    """The last word of a worker that had an easy time."""
    values = {
        "worker": 0,
        "cpu_percent": 30.0,
        "wall_s": 10.0,
        "connections": 8,
        "timestamps": "kernel",
        "ended": "complete",
        "ended_because": "",
        "lag": lag(20_000),
        "unsent": 0,
    }
    return WorkerEnd(**values | changes)


def run_of(
    made: Plan,
    rows: Iterable[Row] = (),
    *,
    streams: Sequence[tuple[int, Sequence[int]]] = (),
    seconds: Sequence[Second] = (),
    ends: Sequence[WorkerEnd] | None = None,
    server: Sequence[ServerSample] = (),
    scheduled: int | None = -1,
    torn: str | None = None,
) -> RunFile:
    """`scheduled` -1 is as many as there are rows; the stages are those of the plan's load."""
    columns = Columns.of(rows)
    stages = made.load.stages
    ends_s = list(accumulate(stage.duration_s for stage in stages))
    header = Header(
        run_id="20260101-000000-abc",
        made_at="2026-01-01T00:00:00.000+00:00",
        paceline="0.1.0",
        host=HOST,
        plan=made,
        scheduled=len(columns) if scheduled == -1 else scheduled,
        duration_s=ends_s[-1],
        stage_names=[stage.name for stage in stages],
        stage_ends_s=ends_s,
        levels=[stage.target for stage in stages],
    )
    tokens = Tokens(
        array("I", [index for index, _ in streams]),
        array("q", [0, *accumulate(len(times) for _, times in streams)]),
        array("q", [at for _, times in streams for at in times]),
    )
    last_words = [worker()] if ends is None else list(ends)
    return RunFile(header, columns, tokens, list(seconds), last_words, list(server), torn)


def seconds_of(rows: Iterable[Row], streams: Sequence[tuple[int, Sequence[int]]] = ()) -> list[Second]:
    """What a worker that keeps histograms would have written."""
    counter = Seconds(stream=bool(streams))
    counter.add(list(rows), [(index, array("q", times)) for index, times in streams])
    return sorted(counter.take(), key=lambda second: (second.at_s, second.stage))


def mm1(requests: int, rate: float, utilisation: float, seed: int = 1) -> list[Row]:
    """A single server, Poisson arrivals and exponential service, first come first served.

    In steady state the time in the system is exponential with rate `rate / utilisation - rate`.
    """
    draw = random.Random(seed)
    service_rate = rate / utilisation
    # Begins in steady state: the work that the first arrival finds is drawn from its distribution.
    free = draw.expovariate(service_rate - rate) if draw.random() < utilisation else 0.0
    due, rows = 0.0, []
    for index in range(requests):
        due += draw.expovariate(rate)
        free = max(due, free) + draw.expovariate(service_rate)
        rows.append(row(index, int(due * S), max(int((free - due) * S), 40_000)))
    return rows


def steady_rows(
    number: int, rate: float, seed: int = 1, low_ms: float = 8.0, high_ms: float = 12.0
) -> list[Row]:
    """Evenly spaced, with independent latencies, uniform between two values."""
    draw = random.Random(seed)
    gap = int(S / rate)
    return [row(index, index * gap, int(draw.uniform(low_ms, high_ms) * MS)) for index in range(number)]

"""A worker process: forked from the run with everything prepared, so that it does nothing but send and receive.

It is told to stop through a pipe, and ends at once when the other end of it is gone: a killed parent leaves no
generator behind.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import ssl
import sys
import time
import traceback
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from paceline.measure.engine.answer import Reading
from paceline.measure.engine.connection import Wiring
from paceline.measure.engine.generator import Generator, Rules
from paceline.measure.engine.link import HAS_KERNEL_TIMESTAMPS, Resolved
from paceline.measure.engine.poller import READ, make_poller
from paceline.measure.engine.promptness import run_promptly
from paceline.measure.engine.seconds import Seconds
from paceline.measure.engine.source import ClosedSource, OpenSource, Share, Source
from paceline.measure.engine.tally import News, Tally
from paceline.measure.load.request import Address
from paceline.measure.load.schedule import Schedule
from paceline.measure.plan import ClosedLoop, OpenLoop, Plan
from paceline.measure.records.record import Row, WorkerEnd
from paceline.measure.records.record_file import RecordWriter

if TYPE_CHECKING:
    from collections.abc import Callable

STOP, END = "stop", "end"
"""Orders of the parent, each a line with the reason behind it: no new requests; end now."""
_SPARE_DESCRIPTORS = 64
_WINDOW_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Task:
    """Everything a worker needs, made before it is forked."""

    plan: Plan
    schedule: Schedule
    payloads: list[bytes]
    address: Address
    resolved: Resolved
    context: ssl.SSLContext | None
    reading: Reading
    start_ns: int
    """Monotonic."""
    limit_ns: int
    records_fd: int


def kernel_timestamps(plan: Plan) -> bool:
    """Whether instants of answers are the kernel's.

    `auto` leaves them to a closed loop without pauses: reading them costs half a microsecond an answer there, and
    what such a loop is for is the rate.
    """
    if plan.timestamps == "auto":
        return HAS_KERNEL_TIMESTAMPS and not (isinstance(plan.load, ClosedLoop) and not plan.load.think_s)
    return plan.timestamps == "kernel" and HAS_KERNEL_TIMESTAMPS


def run_worker(task: Task, worker: int, news_fd: int, orders_fd: int) -> None:
    """Run to the end; called in the child, which has nothing else to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and gives the order
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    load = task.plan.load
    run_promptly(paced=not isinstance(load, ClosedLoop) or load.think_s > 0)
    _allow_descriptors(max(task.plan.max_connections, len(task.schedule.users)) + _SPARE_DESCRIPTORS)
    # Nothing here makes circles that need collecting, and a collection would stop the clock of whoever is measured.
    gc.collect()
    gc.freeze()
    gc.disable()
    Worker(task, worker, news_fd, orders_fd).run()


class Worker:
    """Puts the parts of one worker together."""

    def __init__(self, task: Task, worker: int, news_fd: int, orders_fd: int) -> None:
        self._task = task
        self._worker = worker
        self._news_fd = news_fd
        self._orders_fd = orders_fd
        self._poller = make_poller()
        ready: dict[int, Callable[[int], None]] = {orders_fd: self._ordered}
        self._kernel = kernel_timestamps(task.plan)
        self._wiring = Wiring(
            self._poller,
            ready,
            task.resolved,
            context=task.context,
            server_name=task.address.server_name,
            kernel=self._kernel,
            keep=task.reading != "none",
        )
        self._tally = Tally()
        self._writer = RecordWriter(task.records_fd, worker)
        self._seconds = Seconds(task.plan.payload.stream) if task.plan.records == "histogram" else None
        self._cpu = _CpuWatch(task.start_ns)
        self._generator = Generator(_rules(task), self._wiring, self._tally, self)
        self._poller.add(orders_fd, READ)
        self._source = self._make_source()
        self._because = ""
        self._stopped = False

    def _make_source(self) -> Source:
        task = self._task
        plan = task.plan
        share = Share(task.schedule, task.payloads, self._worker, plan.workers, task.start_ns)
        if isinstance(plan.load, ClosedLoop):
            return ClosedSource(share, self._wiring)
        most = max(1, plan.max_connections // plan.workers)
        source = OpenSource(share, self._wiring, max_connections=most, late=self._tally.late)
        if isinstance(plan.load, OpenLoop) and plan.keep_alive:
            source.preconnect(_expected_connections(plan.load) // plan.workers + 1)
        return source

    def run(self) -> None:
        """Send, receive, and say how it went."""
        try:
            self._generator.run(self._source)
        except Exception as error:  # noqa: BLE001 - the last stop of this process: the records so far stay good
            traceback.print_exc(file=sys.stderr)
            self._generator.ended = "broken_off"
            self._because = f"worker {self._worker}: {type(error).__name__}: {error}"
        if self._seconds is not None:
            self._writer.seconds(self._seconds.take())
        self._tell(in_flight=0)
        ended = self._generator.ended or ("stopped" if self._stopped else "complete")
        self._writer.end(
            WorkerEnd(
                worker=self._worker,
                cpu_percent=self._cpu.busiest_percent(),
                wall_s=(time.monotonic_ns() - self._task.start_ns) / 1e9,
                connections=len(self._source.connections),
                timestamps="kernel" if self._kernel else "user",
                ended=ended,
                ended_because=self._because,
                lag=self._tally.lag,
                unsent=self._source.waiting(),
            )
        )

    def keep(self, rows: list[Row], tokens: list[tuple[int, array[int]]]) -> None:
        """See `Keeper`."""
        if self._seconds is None:
            self._writer.rows(rows)
            self._writer.tokens(tokens)
        else:
            self._seconds.add(rows, tokens)

    def tick(self, now_ns: int, in_flight: int) -> None:
        """See `Keeper`."""
        self._cpu.look(now_ns)
        if self._seconds is not None and self._seconds.full:
            self._writer.seconds(self._seconds.take())
        self._tell(in_flight)

    def _tell(self, in_flight: int) -> None:
        tally = self._tally
        news = News(
            worker=self._worker,
            sent=tally.done + tally.failed + in_flight,
            done=tally.done,
            failed=tally.failed,
            failures=dict(tally.failures),
            in_flight=in_flight,
            tokens=tally.tokens,
            latencies_ns=tally.sample(),
            lag_p99_ns=tally.lag_p99(),
            stopping=self._generator.stopping,
        )
        body = msgspec.msgpack.encode(news)
        message = len(body).to_bytes(4, "little") + body
        # Below PIPE_BUF a write to a pipe is whole or not at all; a parent that is too slow misses a moment only.
        if len(message) <= select.PIPE_BUF:
            try:
                os.write(self._news_fd, message)
            except BlockingIOError:
                pass
            except BrokenPipeError:
                self._generator.ended = "broken_off"

    def _ordered(self, _events: int) -> None:
        orders = os.read(self._orders_fd, select.PIPE_BUF)
        order, _, because = orders.decode().splitlines()[-1].partition(" ") if orders else (END, "", "")
        self._because = self._because or because
        if order == STOP:
            self._stopped = True
            self._generator.stop()
        else:  # told to end, or nobody is there to tell us anything
            self._generator.ended = "interrupted" if orders else "broken_off"


class _CpuWatch:
    """CPU of this process in windows of a second."""

    def __init__(self, start_ns: int) -> None:
        self._at_ns = start_ns
        self._cpu_ns = 0
        self._shares: list[float] = []

    def look(self, now_ns: int) -> None:
        """To be called some times a second."""
        if now_ns < self._at_ns:
            return
        if not self._cpu_ns:
            self._at_ns, self._cpu_ns = now_ns, time.process_time_ns()
        elif now_ns - self._at_ns >= _WINDOW_NS:
            cpu_ns = time.process_time_ns()
            self._shares.append((cpu_ns - self._cpu_ns) / (now_ns - self._at_ns))
            self._at_ns, self._cpu_ns = now_ns, cpu_ns

    def busiest_percent(self) -> float:
        """Of the windows' busiest twentieth the least busy one, so that a single hiccup is not the whole run."""
        self.look(time.monotonic_ns() if not self._shares else 0)
        if not self._shares:
            spent_ns = time.process_time_ns() - self._cpu_ns
            return 100 * spent_ns / max(1, time.monotonic_ns() - self._at_ns)
        return 100 * sorted(self._shares)[int(0.95 * (len(self._shares) - 1))]


def _rules(task: Task) -> Rules:
    plan = task.plan
    return Rules(
        start_ns=task.start_ns,
        timeout_ns=int(plan.timeout_s * 1e9),
        limit_ns=task.limit_ns,
        statuses=frozenset(plan.expect.status),
        reading=task.reading,
        keep_alive=plan.keep_alive,
    )


def _expected_connections(load: OpenLoop) -> int:
    """A twentieth of a second's requests, at most 64: more open by themselves where they are needed."""
    return min(64, int(load.stages[0].first / 20))


def _allow_descriptors(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))

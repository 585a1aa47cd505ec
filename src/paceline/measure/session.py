"""One run from plan to report: prepare everything, let the workers go, watch, and read what they wrote."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from paceline import __version__
from paceline.base.errors import ConfigError, Unreachable
from paceline.measure import slo
from paceline.measure.credentials import concealed
from paceline.measure.engine.answer import Reading
from paceline.measure.engine.crew import Crew
from paceline.measure.engine.link import resolve, tls_context
from paceline.measure.engine.worker import Task
from paceline.measure.load.request import Address, address, requests
from paceline.measure.load.schedule import Schedule, make_schedule
from paceline.measure.load.trace import load_trace
from paceline.measure.observer import Observer
from paceline.measure.plan import Plan
from paceline.measure.precision import PrecisionWatch
from paceline.measure.probe import check_answers
from paceline.measure.progress import Progress
from paceline.measure.records.record import Header, RunFile
from paceline.measure.records.record_file import RecordWriter, create, read

if TYPE_CHECKING:
    from paceline.measure.report import LoadReport

GET_READY_NS = 200_000_000
"""From the fork of the workers to the first request."""
NEVER_NS = 1 << 62
SERVER_EVERY_S = 1.0
HURRY_S = 2.0
"""How long an interrupted run may take to write down what it has."""


@dataclass(frozen=True, slots=True)
class Onlooker:
    """Who watches a run and may end it."""

    on_progress: Callable[[Progress], None] = lambda _: None
    """Called ten times a second."""
    interrupted: Callable[[], bool] = lambda: False
    """Asked as often; True ends the run, and the report says so."""
    server_pid: int | None = None
    """The server's process, where it cannot be found by its port."""
    note: str = ""
    """Shown with the progress."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan with everything that can be made before the run."""

    plan: Plan
    schedule: Schedule
    payloads: list[bytes]
    address: Address
    notes: list[str]
    """What the trace needed explaining."""


def prepare(plan: Plan) -> Prepared:
    """Schedule and requests. Raises ConfigError for whatever of the plan cannot be carried out."""
    slo.objectives(plan.thresholds)
    trace = load_trace(plan)
    payloads = requests(plan, trace)
    schedule = make_schedule(plan, trace, len(payloads))
    where = address(plan.target, plan.payload.task)
    return Prepared(plan, schedule, payloads, where, [] if trace is None else list(trace.notes))


def measure(
    plan: Plan, *, records: Path, onlooker: Onlooker | None = None, check_first: bool = True
) -> LoadReport:
    """Carry out the plan, writing `records` as it goes, and report.

    A KeyboardInterrupt ends the run and reports what there is. `check_first` sends one request ahead and raises when
    its answer is not a good one. Raises ConfigError, Unreachable.
    """
    from paceline.measure.analysis.summary import summarise  # noqa: PLC0415 - `--help` does without

    prepared = prepare(plan)
    if check_first:
        check_answers(plan, prepared.payloads[0])
    return summarise(carry_out(prepared, records, onlooker))


def carry_out(prepared: Prepared, records: Path, onlooker: Onlooker | None = None) -> RunFile:
    """Run what was prepared, writing `records` as it goes, and read them back. Raises as `measure`."""
    fd = create(records, _header(prepared))
    try:
        _run(prepared, fd, records, onlooker or Onlooker())
    finally:
        os.close(fd)
    return read(records)


def _header(prepared: Prepared) -> Header:
    from paceline.measure.records.host import this_host  # noqa: PLC0415 - `--help` does without

    schedule = prepared.schedule
    return Header(
        run_id=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(3)}",
        made_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        paceline=__version__,
        host=this_host(),
        plan=concealed(prepared.plan),
        scheduled=schedule.requests if schedule.users else len(schedule.at_ns),
        duration_s=schedule.duration_ns / 1e9,
        stage_names=list(schedule.stage_names),
        stage_ends_s=[end / 1e9 for end in schedule.stage_ends_ns],
        levels=list(schedule.levels),
        notes=prepared.notes,
    )


def _run(prepared: Prepared, fd: int, records: Path, onlooker: Onlooker) -> None:
    from paceline.measure.server_watch import TIMEOUT_S, ServerWatch  # noqa: PLC0415 - `--help` does without

    plan, schedule = prepared.plan, prepared.schedule
    watch = ServerWatch(plan.target.url, onlooker.server_pid, insecure=plan.target.insecure)
    first_look = watch.sample(
        0.0, patience_s=TIMEOUT_S
    )  # no thread of it is left when the workers are forked
    start_ns = time.monotonic_ns() + GET_READY_NS
    crew = Crew(_task(prepared, fd, start_ns))
    try:
        observer = Observer(schedule, slo.objectives(plan.thresholds), start_ns)
        observer.note = onlooker.note
        precise = PrecisionWatch(plan, records)
        writer = RecordWriter(fd)
        writer.server(first_look)
        next_look_s = SERVER_EVERY_S
        while crew.working:
            observer.take(crew.listen(0.1))
            onlooker.on_progress(observer.progress())
            if observer.elapsed_s >= next_look_s:
                next_look_s = observer.elapsed_s + SERVER_EVERY_S
                writer.server(watch.sample(observer.elapsed_s))
            if onlooker.interrupted():
                crew.end("by hand")
            because = _reason_to_stop(plan, observer, precise)
            if because:
                crew.stop(because)
        writer.server(watch.sample(observer.elapsed_s, patience_s=TIMEOUT_S))
    except KeyboardInterrupt:
        crew.end("by hand")
        crew.close(HURRY_S)
    finally:
        crew.close()


def _reason_to_stop(plan: Plan, observer: Observer, precise: PrecisionWatch) -> str:
    limit = plan.stopping.failures_percent
    share = observer.failed_percent()
    if limit is not None and share is not None and share >= limit:
        return f"{share:.0f} % of the last requests failed, the limit is {limit:g} %"
    return precise.reason(observer.done)


def _task(prepared: Prepared, fd: int, start_ns: int) -> Task:
    plan = prepared.plan
    where = prepared.address
    try:
        resolved = resolve(where)
    except socket.gaierror as error:
        raise Unreachable(f"host {where.host!r} is not known ({error.strerror}); check --url") from None
    context = None
    if where.tls:
        try:
            context = tls_context(insecure=plan.target.insecure, ca_file=plan.target.ca_file)
        except OSError as error:
            raise ConfigError(
                f"certificates {plan.target.ca_file}: {error}", param="target.ca_file"
            ) from None
    limit_s = plan.stopping.time_limit_s
    return Task(
        plan=plan,
        schedule=prepared.schedule,
        payloads=prepared.payloads,
        address=where,
        resolved=resolved,
        context=context,
        reading=_reading(plan),
        start_ns=start_ns,
        limit_ns=NEVER_NS if limit_s is None else start_ns + int(limit_s * 1e9),
        records_fd=fd,
    )


def _reading(plan: Plan) -> Reading:
    """As much of each answer as the report can use."""
    if plan.payload.stream:
        return "stream"
    if plan.payload.task != "http" or plan.expect.json:
        return "json"
    return "none"

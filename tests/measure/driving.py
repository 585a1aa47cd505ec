"""The engine alone: a plan carried out by real worker processes, and what they wrote."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from paceline.measure.engine.crew import Crew
from paceline.measure.engine.tally import News
from paceline.measure.failure import Failure
from paceline.measure.plan import ClosedLoop, OpenLoop, Payload, Plan, Stage, Target
from paceline.measure.records.record import RunFile
from paceline.measure.records.record_file import create, read
from paceline.measure.session import _header, _task, prepare


def open_plan(url: str, rate: float = 100, seconds: float = 0.5, **changes: Any) -> Plan:
    process = changes.pop("process", "constant")
    return Plan(target=Target(url=url), load=OpenLoop((Stage(seconds, rate),), process=process), **changes)


def closed_plan(
    url: str, requests: int = 20, users: int = 2, *, seconds: float = 60, think_s: float = 0, **changes: Any
) -> Plan:
    load = ClosedLoop((Stage(seconds, users),), requests=requests, think_s=think_s)
    return Plan(target=Target(url=url), load=load, **changes)


def chat(**changes: Any) -> Payload:
    return Payload(task="chat", stream=True, model="m", max_tokens=8, **changes)


def trusting(plan: Plan, ca_file: str | None) -> Plan:
    return msgspec.structs.replace(plan, target=msgspec.structs.replace(plan.target, ca_file=ca_file))


def drive(plan: Plan, on_news: Callable[[Crew, list[News]], None] | None = None) -> RunFile:
    """Run to the end; `on_news` may give orders."""
    prepared = prepare(plan)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.plr"
        fd = create(path, _header(prepared))
        crew = Crew(_task(prepared, fd, time.monotonic_ns() + 100_000_000))
        try:
            while crew.working:
                news = crew.listen(1.0)
                if on_news is not None and news:
                    on_news(crew, news)
        finally:
            crew.close()
        assert crew.broken == 0
        return read(path)


def failures(run: RunFile) -> dict[str, int]:
    """Requests by how they ended, good ones as `none`."""
    return dict(Counter(Failure(kind).label for kind in run.columns.failure))

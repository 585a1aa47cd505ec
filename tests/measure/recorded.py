"""Records files of runs that need no server: rows of known latencies, written by the real writer."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paceline.measure.plan import ClosedLoop, OpenLoop, Payload, Plan, Stage, Target
from paceline.measure.records.record import COLUMNS, Header, WorkerEnd
from paceline.measure.records.record_file import RecordWriter, create
from paceline.measure.report import Host

HOST = Host("0123456789ab", "bench-01", "AMD EPYC 9354", 32, 2**36, "Linux 6.8", "3.11.9")
RATE = 100.0


def walk(count: int, middle_ms: float = 100.0, seed: int = 1) -> list[float]:
    """Latencies in ms, neighbours alike as those of a queue are; the same seed has the same ups and downs."""
    chance = random.Random(seed)
    level, found = 0.0, []
    for _ in range(count):
        level = 0.9 * level + chance.gauss(0, 0.05)
        found.append(middle_ms * (1 + abs(level)) * chance.uniform(0.9, 1.1))
    return found


def record(
    path: Path,
    latencies_ms: Sequence[float],
    *,
    run_id: str = "r",
    host: Host = HOST,
    failures: Mapping[int, int] | None = None,
    first_token_ms: float | None = None,
    lag_ms: float = 0.02,
    broken_off_of: int | None = None,
    **plan: Any,
) -> Path:
    """One request every 10 ms. `failures` by index; `first_token_ms` makes streams of five tokens, 2 ms apart.

    `broken_off_of` says how many requests there should have been; the worker then leaves no last word.
    """
    planned = broken_off_of or len(latencies_ms)
    seconds = planned / RATE
    closed = plan.pop("closed", False)
    load = (
        ClosedLoop((Stage(seconds, 4.0),))
        if closed
        else OpenLoop((Stage(seconds, RATE),), process="constant")
    )
    made = Plan(**{"target": Target("http://localhost:8080/"), "load": load, "warmup_s": 0.0} | plan)
    header = Header(
        run_id=run_id,
        made_at="2026-03-14T10:15:00Z",
        paceline="0.1.0",
        host=host,
        plan=made,
        scheduled=None if closed else planned,
        duration_s=seconds,
        stage_names=[""],
        stage_ends_s=[seconds],
        levels=[RATE],
    )
    fd = create(path, header)
    writer = RecordWriter(fd)
    rows = [
        _row(index, at_ms, (failures or {}).get(index, 0), first_token_ms, lag_ms)
        for index, at_ms in enumerate(latencies_ms)
    ]
    for start in range(0, len(rows), 1000):
        writer.rows(rows[start : start + 1000])
    if first_token_ms is not None:
        starts = [(index, round((10 * index + first_token_ms) * 1e6)) for index in range(len(rows))]
        writer.tokens([(index, [first + 2_000_000 * n for n in range(5)]) for index, first in starts])
    if broken_off_of is None:
        lag = {round(lag_ms * 1e6): len(rows)} if lag_ms * 1e6 < 2048 else {}
        writer.end(WorkerEnd(0, 20.0, seconds, 8, "kernel", "complete", "the schedule was over", lag, 0))
    os.close(fd)
    return path


def _row(
    index: int, latency_ms: float, failure: int, first_token_ms: float | None, lag_ms: float
) -> tuple[int, ...]:
    due = 10_000_000 * index
    events = 0 if first_token_ms is None else 5
    values = {
        "index": index,
        "stage": 0,
        "intended_ns": due,
        "sent_ns": due + round(lag_ms * 1e6),
        "first_ns": due + round(latency_ms * 9e5),
        "last_ns": due + round(latency_ms * 1e6),
        "status": 503 if failure else 200,
        "failure": failure,
        "received_bytes": 100,
        "prompt_tokens": -1,
        "completion_tokens": events or -1,
        "token_events": events,
        "tier": 0,
    }
    return tuple(values[name] for name, _ in COLUMNS)


STREAMED = Payload(task="chat", stream=True)

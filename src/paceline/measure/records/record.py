"""What a run leaves behind: one row a request, and what workers and server said beside it.

Instants are whole nanoseconds since the run's start (CLOCK_MONOTONIC); -1 is unknown. How it lies on disk is the
business of `record_file`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import msgspec

from paceline.measure.plan import Plan
from paceline.measure.report import Host

SCHEMA = "paceline.records/1"

Row = Sequence[int]
"""One request: a value for each of `COLUMNS`, in that order."""

COLUMNS: tuple[tuple[str, str], ...] = (
    ("index", "I"),
    ("stage", "H"),
    ("intended_ns", "q"),
    ("sent_ns", "q"),
    ("first_ns", "q"),
    ("last_ns", "q"),
    ("status", "h"),
    ("failure", "B"),
    ("received_bytes", "q"),
    ("prompt_tokens", "i"),
    ("completion_tokens", "i"),
    ("token_events", "i"),
    ("tier", "B"),
)
"""Name and array type code of each column."""


class Tier(IntEnum):
    """Whether the server answered from a cache, where it says so."""

    UNKNOWN = 0
    MISS = 1
    HIT = 2


class Header(msgspec.Struct, frozen=True):
    """First line of a records file."""

    run_id: str
    made_at: str
    """When the run began, ISO 8601 in UTC."""
    paceline: str
    host: Host
    plan: Plan
    scheduled: int | None
    duration_s: float
    """Of the schedule."""
    stage_names: list[str]
    stage_ends_s: list[float]
    levels: list[float]
    """Target of each stage: requests per second, or users."""
    notes: list[str] = []
    """What was decided before the run and is good to know."""
    schema: str = SCHEMA


class WorkerEnd(msgspec.Struct, frozen=True):
    """What one worker says when it is through."""

    worker: int
    cpu_percent: float
    """Of one core, in its busiest second."""
    wall_s: float
    connections: int
    timestamps: str
    """`kernel` or `user`."""
    ended: str
    ended_because: str
    lag: dict[int, int]
    """Actual start after the intended start: counts of a `Histogram`, ns."""
    unsent: int


class ServerSample(msgspec.Struct, frozen=True):
    """The server at one moment, seconds since the run's start; None where it did not say."""

    at_s: float
    source: str
    """`process 4711` or the address of its metrics."""
    cpu_percent: float | None = None
    memory_bytes: float | None = None
    open_files: float | None = None
    queue_depth: float | None = None
    hits: float | None = None
    """Cache hits so far, of all tiers."""
    misses: float | None = None


class Second(msgspec.Struct):
    """Requests of one stage that were due in one stretch of `span_s` seconds, for runs that keep no rows.

    The three histograms hold good answers only, as counts by bucket of ns.
    """

    at_s: int
    stage: int
    sent: int = 0
    done: int = 0
    failed: dict[int, int] = {}
    """By number of the `Failure`."""
    received_bytes: int = 0
    latency: dict[int, int] = {}
    """From the intended start."""
    service: dict[int, int] = {}
    """From the actual start."""
    ttft: dict[int, int] = {}
    """From the intended start to the first token."""
    statuses: dict[int, int] = {}
    prompt_tokens: int = 0
    completion_tokens: int = 0
    token_events: int = 0
    hits: int = 0
    misses: int = 0
    span_s: int = 1

    def merge(self, other: Second) -> None:
        """Take in what another worker, or the next second, counted."""
        for name in ("failed", "latency", "service", "ttft", "statuses"):
            mine: dict[int, int] = getattr(self, name)
            for key, count in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + count
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_SUMS = (
    "sent",
    "done",
    "received_bytes",
    "prompt_tokens",
    "completion_tokens",
    "token_events",
    "hits",
    "misses",
)


@dataclass(frozen=True, slots=True)
class Columns:
    """The rows of a run, column by column, ordered by intended start and then by index; all of one length."""

    index: array[int]
    stage: array[int]
    intended_ns: array[int]
    sent_ns: array[int]
    first_ns: array[int]
    last_ns: array[int]
    status: array[int]
    failure: array[int]
    received_bytes: array[int]
    prompt_tokens: array[int]
    completion_tokens: array[int]
    token_events: array[int]
    tier: array[int]

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def empty(cls) -> Columns:
        """No rows yet."""
        return cls(*(array(code) for _, code in COLUMNS))

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Columns:
        """From rows; for tests and small runs. Raises OverflowError for a value that a column cannot hold."""
        columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
        return cls(
            *(array(code, values) for (_, code), values in zip(COLUMNS, columns, strict=True))
        ).ordered()

    def ordered(self) -> Columns:
        """The same rows by intended start, then by index."""
        order = sorted(range(len(self)), key=self.index.__getitem__)
        order.sort(key=self.intended_ns.__getitem__)  # stable, so that equal starts stay ordered by index
        return Columns(*(array(code, map(getattr(self, name).__getitem__, order)) for name, code in COLUMNS))


@dataclass(frozen=True, slots=True)
class Tokens:
    """When the tokens of streamed answers came: request `index[i]` has `times_ns[start[i]:start[i + 1]]`."""

    index: array[int]
    """Ascending."""
    start: array[int]
    """One more than there are requests."""
    times_ns: array[int]
    """Since the run's start, true to half a microsecond."""

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def empty(cls) -> Tokens:
        """No streams."""
        return cls(array("I"), array("q", [0]), array("q"))


@dataclass(frozen=True, slots=True)
class RunFile:
    """A records file, read. Either `columns` or `seconds` is empty, as the plan's `records` says."""

    header: Header
    columns: Columns
    tokens: Tokens
    seconds: list[Second]
    """Ordered by `at_s`, then stage; what several workers counted is one."""
    ends: list[WorkerEnd]
    """By worker; one that was killed has none."""
    server: list[ServerSample]
    """By time."""
    torn: str | None
    """What could not be read, in words; None when everything could."""

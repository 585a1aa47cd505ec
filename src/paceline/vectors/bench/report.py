"""What a run found: a versioned JSON document from which the table and the page are made.

A number that could not be had is None, beside the reason; never 0. Latencies are milliseconds.
"""

from __future__ import annotations

from typing import Final

import msgspec

from paceline.vectors.bench.corpus import CorpusShape

SCHEMA: Final = "paceline.vectors-bench/1"


class Host(msgspec.Struct, frozen=True):
    """The machine that measured."""

    hostname: str
    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str


class Settings(msgspec.Struct, frozen=True):
    """What all contestants were asked for."""

    recalls: list[float]
    rounds: int
    m: int
    ef_construction: int
    build_threads: int
    pass_s: float = 20.0
    """Seconds of one pass over the queries, about, after which a contestant has done what it could."""


class Build(msgspec.Struct, frozen=True):
    """How the index was made."""

    seconds: float
    """From the vectors in memory to an index in a folder."""
    threads: int
    vectors_per_s: float
    was_kept: bool = False
    """Made by an earlier run, which measured it."""


class Size(msgspec.Struct, frozen=True):
    """What the index is and takes, opened in a fresh process and searched."""

    index: str
    """In the contestant's words."""
    unchangeable: str
    """Why it cannot replace or delete; empty if it can."""

    held_bytes: float | None
    """A vector: codes and graph that searches go through, as far as it tells."""
    resident_bytes: float
    """A vector: growth of the process's resident memory."""
    disk_bytes: float
    """A vector."""


class Point(msgspec.Struct, frozen=True):
    """One ef on the curve, on one core."""

    effort: int
    recall: float
    qps: float
    """All queries in one call, where its API takes several."""
    p50_ms: float
    """One query a call."""
    p99_ms: float
    queries: int | None = None
    """On which recall and `qps` rest, where a pass ended before all; None: all."""
    single_queries: int | None = None
    """On which latencies rest, in the same way."""


class Held(msgspec.Struct, frozen=True):
    """The smallest ef that reaches a recall, measured in rounds that take turns with the others'."""

    target: float
    effort: int
    recall: float
    qps: float
    """Median of the rounds; `qps_low` and `qps_high` are the slowest and the quickest."""
    qps_low: float
    qps_high: float
    p50_ms: float
    p99_ms: float
    """Of all rounds together."""
    rounds: int
    queries: int | None = None
    """In one call, on which recall and rates rest, in the round with the fewest; None: all."""
    single_queries: int | None = None
    """One by one, on which latencies rest, in the round with the fewest; None: all."""


class Changes(msgspec.Struct, frozen=True):
    """Vectors replaced and deleted, in calls of 100, in a copy of the index."""

    records: int
    updates_per_s: float | None
    deletes_per_s: float | None
    recall_after: float | None
    """Against what is then there, at `effort`."""
    effort: int | None
    reason: str = ""
    """Why there is nothing to tell."""
    queries: int | None = None
    """On which that recall rests, where it is not all; None: all."""


class Result(msgspec.Struct, frozen=True):
    """One contestant."""

    name: str
    family: str
    """ours, library or product."""
    version: str
    build: Build | None = None
    size: Size | None = None
    curve: list[Point] = []
    held: list[Held] = []
    missed: list[float] = []
    """Recalls that no ef reached."""
    changes: Changes | None = None
    failed: str = ""
    """Why it ended early."""


class Absent(msgspec.Struct, frozen=True):
    """A contestant that is not installed."""

    name: str
    install: str


class Precision(msgspec.Struct, frozen=True):
    """Our graph on codes of one precision."""

    precision: str
    rescored_on: str
    """Empty where nothing is re-scored."""
    code_bytes: float
    """A vector."""
    graph_bytes: float
    """A vector."""
    levels: list[Point]


class BenchReport(msgspec.Struct, frozen=True):
    """All of it."""

    schema: str
    made_at: str
    """UTC, ISO 8601."""
    paceline: str
    commit: str
    """Of the source, where it is a checkout; else empty."""
    host: Host
    corpus: CorpusShape
    settings: Settings
    seconds: float
    results: list[Result]
    absent: list[Absent] = []
    precisions: list[Precision] = []
    interrupted: bool = False

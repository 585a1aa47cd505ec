"""The report of a run: a versioned JSON document from which every other form is rendered.

Latencies are milliseconds, counted from the intended start unless a name says `service`. A number that could not be
had is None beside the reason; never 0, never a guess.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from paceline.base.slo import State
from paceline.measure.plan import Plan

SCHEMA = "paceline.load-report/1"

ValidityState = Literal["VALID", "INVALID", "INCONCLUSIVE"]


class Estimate(msgspec.Struct, frozen=True):
    """A value with its 95 % interval; `reason` says why one of them is missing."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    effective: float | None = None
    """Independent samples that its autocorrelated ones are worth, where that is known."""


class Distribution(msgspec.Struct, frozen=True):
    """Milliseconds of the measured part of the run."""

    count: int
    effective: float
    """Independent samples the autocorrelated ones are worth."""
    mean: Estimate
    min: float | None
    max: float | None
    stddev: float | None
    quantiles: dict[str, Estimate]
    """By name: p50, p90, p95, p99, p99.9."""
    histogram: list[tuple[float, int]] = []
    """Upper edge and count of at most 120 log-spaced bins, for drawing."""


class Series(msgspec.Struct, frozen=True):
    """What happened second by second (or by a whole number of them); lists of one length, None where nothing was."""

    step_s: float
    at_s: list[float]
    offered_per_s: list[float]
    done_per_s: list[float]
    failed_per_s: list[float]
    in_flight: list[float]
    p50_ms: list[float | None]
    p95_ms: list[float | None]
    p99_ms: list[float | None]


class StageResult(msgspec.Struct, frozen=True):
    """One stage of the load."""

    name: str
    start_s: float
    end_s: float
    level: float
    """Offered rate, or users, at its end."""
    sent: int
    done: int
    failed: int
    done_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Streaming(msgspec.Struct, frozen=True):
    """Of streamed answers. Tokens are those of the server's own usage where it says so."""

    ttft_ms: Distribution
    tpot_ms: Distribution
    """Per request: (last token - first token) / (tokens - 1)."""
    itl_ms: Distribution
    """Every gap between neighbouring tokens."""
    prompt_tokens: int | None
    completion_tokens: int | None
    token_events: int
    """Events that carried text, counted by us."""
    completion_tokens_per_s: float | None


class Check(msgspec.Struct, frozen=True):
    """One reason to trust the run, or not to."""

    name: str
    state: ValidityState
    message: str
    value: float | None = None
    limit: float | None = None


class Validity(msgspec.Struct, frozen=True):
    """INVALID: the numbers measure the generator. INCONCLUSIVE: too few samples for what was asked."""

    state: ValidityState
    checks: list[Check]


class SloRow(msgspec.Struct, frozen=True):
    """One objective beside what was measured; `state` is judged on `value`."""

    name: str
    label: str
    unit: str
    target: float
    critical: float
    higher_is_better: bool
    value: float | None
    low: float | None
    high: float | None
    state: State
    reason: str | None = None
    """Why it is not judged though there may be a value: too few samples, for instance."""


class Probe(msgspec.Struct, frozen=True):
    """One rate tried by the saturation search."""

    rate_per_s: float
    done_per_s: float
    value: float | None
    low: float | None
    high: float | None
    held: bool
    seconds: float


class Capacity(msgspec.Struct, frozen=True):
    """The highest rate at which the objective holds."""

    objective: str
    """For people: `p95 <= 300 ms`."""
    rate_per_s: Estimate
    probes: list[Probe]


class Trend(msgspec.Struct, frozen=True):
    """Theil-Sen slope of something that should not grow."""

    name: str
    unit: str
    per_hour: Estimate
    start: float | None
    state: Literal["flat", "growing", "shrinking", "inconclusive"]
    at_s: list[float]
    values: list[float]


class ServerSeries(msgspec.Struct, frozen=True):
    """What the server itself used and said while we asked; None where it did not say."""

    source: str
    """`process 4711` or the address of its metrics."""
    at_s: list[float] = []
    cpu_percent: list[float | None] = []
    memory_bytes: list[float | None] = []
    open_files: list[float | None] = []
    queue_depth: list[float | None] = []
    hit_percent: float | None = None


class Host(msgspec.Struct, frozen=True):
    """The machine that measured. Runs of different fingerprints are not compared without a warning."""

    fingerprint: str
    hostname: str
    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str


class Generator(msgspec.Struct, frozen=True):
    """How well the load generator did its own work."""

    workers: int
    cpu_percent: float | None
    """Of its busiest worker, of one core; None when it was killed before it could say."""
    lag_p50_ms: float | None
    lag_p99_ms: float | None
    """Actual start after the intended start."""
    connections: int
    timestamps: Literal["kernel", "user"]


class LoadReport(msgspec.Struct, frozen=True):
    """A run, measured and judged."""

    run_id: str
    made_at: str
    """When the run began, ISO 8601 in UTC."""
    paceline: str
    """Version."""
    host: Host
    plan: Plan
    ended: Literal["complete", "interrupted", "stopped", "time_limit", "broken_off"]
    """`broken_off`: the generator was killed, and this is what its file holds."""
    ended_because: str
    duration_s: float
    warmup_s: float
    """What was cut from the beginning."""
    steady: Literal["steady", "rising", "falling", "unknown"]
    scheduled: int | None
    """Requests the schedule holds; None in a closed loop without a number."""
    sent: int
    done: int
    failed: int
    failures: dict[str, int]
    """By kind (`measure.failure`)."""
    statuses: dict[str, int]
    offered_per_s: float | None
    done_per_s: Estimate
    """Good answers per second of the measured part."""
    received_bytes: int
    latency_ms: Distribution
    """From the intended start to the last byte, of good answers."""
    service_ms: Distribution
    """From the actual start."""
    goodput_percent: float | None
    """Share of requests within every latency objective, failures counting against it."""
    validity: Validity
    slo: list[SloRow]
    slo_state: State
    generator: Generator
    stages: list[StageResult]
    series: Series
    streaming: Streaming | None = None
    server: ServerSeries | None = None
    capacity: Capacity | None = None
    trends: list[Trend] = []
    notes: list[str] = []
    schema: str = SCHEMA


def encode(report: LoadReport) -> bytes:
    """One JSON document."""
    return msgspec.json.encode(report)


def decode(document: bytes) -> LoadReport:
    """Read what `encode` wrote; raises msgspec.DecodeError with the path of what does not fit."""
    return msgspec.json.decode(document, type=LoadReport)

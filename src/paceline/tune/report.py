"""What a tune found, as one JSON document: every trial with its prediction and its measurement, and the decision.

Latencies are milliseconds. A number that could not be had is None beside the reason; never 0, never a guess.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from paceline.base.slo import Objective, State
from paceline.tune.setting import Value

SCHEMA = "paceline.tune-report/1"

Aim = Literal["latency", "throughput", "cost"]
Phase = Literal["baseline", "calibrate", "verify", "a/b", "apply"]
Outcome = Literal["applied", "written", "kept", "rolled back", "infeasible", "interrupted", "failed"]
"""`kept`: no candidate was better than the baseline for sure. `infeasible`: no setting meets the SLO."""


class Range(msgspec.Struct, frozen=True):
    """A value with its 95 % interval; `reason` says why it is missing ("saturated", for instance)."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class SloValue(msgspec.Struct, frozen=True):
    """One objective beside what a run measured."""

    objective: Objective
    value: float | None
    state: State


class SearchedKnob(msgspec.Struct, frozen=True):
    """One knob of the search space."""

    name: str
    values: list[Value]
    baseline: Value
    live: bool
    quality: bool
    modelled: bool
    """Whether the simulator knows what it does; others are only tried live."""
    unit: str | None = None
    cost: str = ""


class Workload(msgspec.Struct, frozen=True):
    """The load that was replayed in every trial."""

    source: str
    """`trace day.csv`, `access log ...` or how it was generated."""
    requests: int
    duration_s: float
    rate_per_s: float
    distinct_percent: float
    """Share of texts that no earlier one equals: an ideal cache could answer the rest."""
    tokens_p50: float | None = None
    tokens_p95: float | None = None


class Coefficient(msgspec.Struct, frozen=True):
    """One fitted number of the service model."""

    name: str
    unit: str
    value: float
    low: float
    high: float
    meaning: str


class Calibration(msgspec.Struct, frozen=True):
    """How the simulator was fitted to this server."""

    coefficients: list[Coefficient]
    batches: int
    """Batches that the service time was fitted to."""
    residual_percent: float
    """Median absolute relative error of the fit."""
    particles: int
    seconds: float


class Prediction(msgspec.Struct, frozen=True):
    """One simulated setting."""

    setting: dict[str, Value]
    p95_ms: Range
    score: float
    """In the unit of the aim, smaller is better; what the ranking used."""
    cost_ms: float | None
    """Engine milliseconds per request."""
    utilisation: float
    """Offered rate over the most this setting can do; 0.9 and more is saturated."""
    meets_slo: bool


class Trial(msgspec.Struct, frozen=True):
    """One live run."""

    number: int
    phase: Phase
    setting: dict[str, Value]
    predicted_p95_ms: Range | None
    values: dict[str, float]
    """What was measured, by the names of objectives: p95_ms, error_percent, rate_per_s, cpu_percent, ..."""
    violation: float | None
    """0 when every target holds, else the largest relative excess; None when the run failed."""
    score: float | None
    at_s: float
    """Seconds since the tune began."""
    seconds: float
    failed: str = ""
    """Why there is no measurement: the server died, did not start, refused the setting."""


class QualityCheck(msgspec.Struct, frozen=True):
    """A setting that changes answers, scored against the baseline on the same samples."""

    setting: dict[str, Value]
    metric: str
    samples: int
    loss: Range
    allowed: float | None
    """Loss of mean score; None asks only for `least`."""
    accepted: bool
    because: str
    least: float | None = None
    """Mean score that must surely be held."""


class Standing(msgspec.Struct, frozen=True):
    """One candidate after verification."""

    setting: dict[str, Value]
    runs: int
    mean_score: float | None
    eliminated_after: int | None
    """Live runs that had been made when it was dropped; None for the winner and for those within the margin."""
    because: str = ""


class AbResult(msgspec.Struct, frozen=True):
    """Winner against baseline under the same load, block by block."""

    blocks: int
    metric: str
    change: Range
    """Relative change of the metric, winner over baseline: -0.2 is 20 % less. Valid at every look."""
    verdict: Literal["better", "worse", "equivalent", "undecided"]
    baseline_values: dict[str, float]
    candidate_values: dict[str, float]
    points: list[list[float | None]] = []
    """Relative change after each block: [change, low, high]."""
    margin: float | None = None
    """Relative change within which two settings count as equivalent: 0.03 is 3 % either way."""


class Step(msgspec.Struct, frozen=True):
    """One step of applying the winner."""

    setting: dict[str, Value]
    window_s: float
    values: dict[str, float]
    held: bool
    because: str


class TuneReport(msgspec.Struct, frozen=True):
    """A tune from baseline to decision."""

    run_id: str
    made_at: str
    """ISO 8601 in UTC."""
    paceline: str
    url: str
    aim: Aim
    objectives: list[Objective]
    budget_s: float
    seconds: float
    workload: Workload
    knobs: list[SearchedKnob]
    settings_total: int | None
    """Size of the search space; None when a knob takes any number of a range."""
    outcome: Outcome
    winner: dict[str, Value]
    """Empty when the baseline stays."""
    why: list[str]
    """Sentences: why the winner won, what binds, what was not proven."""
    undo: list[str]
    """Commands that bring the baseline back."""
    baseline_setting: dict[str, Value]
    baseline: list[SloValue]
    after: list[SloValue]
    calibration: Calibration | None = None
    predictions: list[Prediction] = []
    trials: list[Trial] = []
    quality: list[QualityCheck] = []
    standings: list[Standing] = []
    ab: AbResult | None = None
    steps: list[Step] = []
    closest: dict[str, Value] | None = None
    """When nothing meets the SLO: the setting that comes nearest."""
    warnings: list[str] = []
    machine: str = ""
    seed: int = 1
    settings_simulated: int | None = None
    """Different ones; `predictions` are of those that were not given up on the way."""
    simulated_per_s: float | None = None
    """Settings simulated per second, each under one particle."""
    written_to: str = ""
    """File that holds the winner, where one was written."""
    schema: str = SCHEMA


def encode(report: TuneReport) -> bytes:
    """JSON, one document."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1)


def decode(document: bytes) -> TuneReport:
    """Raises msgspec.DecodeError for what is no tune report."""
    return msgspec.json.decode(document, type=TuneReport)

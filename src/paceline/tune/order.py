"""What one tune is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from paceline.tune.goal import Goal
from paceline.tune.quality import QualityGate
from paceline.tune.simulation.station import Station
from paceline.tune.space import Space

BUDGET_S: Final = 300.0
MAX_RUNS: Final = 10
CANDIDATES: Final = 4
MARGIN: Final = 0.02
"""A change within this share is no change to anybody."""


Reach = Literal["admin", "launch"]
"""How settings get to the server: through its admin page while it runs, or by starting it anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything that is decided before the first run."""

    url: str
    goal: Goal
    space: Space
    service: str = ""
    """Group of settings of what is under load, e.g. `embed`."""
    station: Station | None = None
    """The baseline as the simulator sees it; None searches live, as a black box."""
    source: str = ""
    """Where the load comes from, for people."""
    budget_s: float = BUDGET_S
    max_runs: int = MAX_RUNS
    """Live runs before the A/B test: baseline, calibration and verification together."""
    candidates: int = CANDIDATES
    margin: float = MARGIN
    apply: bool = False
    gate: QualityGate | None = None
    allowed_loss: float | None = 0.0
    """Loss of the gate's mean score that is accepted; None: any, as long as `least_quality` is held."""
    least_quality: float | None = None
    """Mean score that a setting must surely hold."""
    seed: int = 1
    machine: str = ""
    reach: Reach = "admin"

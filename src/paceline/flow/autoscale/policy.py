"""What the autoscaler aims at, and how fast it may go there."""

from __future__ import annotations

from typing import Annotated

import msgspec

from paceline.base.errors import ConfigError
from paceline.base.knob import knob


class AutoscalePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many replicas there may be, what each should carry, and how fast their number may change.

    Raises ConfigError for bounds that exclude each other, and for a policy that could never change anything.
    """

    min_replicas: Annotated[int, knob("Never fewer.", ge=1, le=1000, unit="replicas", live=True)] = 3
    max_replicas: Annotated[int, knob("Never more.", ge=1, le=1000, unit="replicas", live=True)] = 10
    cpu_percent: Annotated[
        float,
        knob("CPU each replica should use, of what it may; 0 ignores it.", ge=0, le=100, unit="%", live=True),
    ] = 70.0
    memory_percent: Annotated[
        float,
        knob(
            "Memory each replica should use, of what it may; 0 ignores it.", ge=0, le=100, unit="%", live=True
        ),
    ] = 80.0
    queue_depth: Annotated[
        float,
        knob("Jobs that may wait per replica; 0 ignores it.", ge=0, le=1_000_000, unit="jobs", live=True),
    ] = 0.0
    p95_ms: Annotated[
        float, knob("p95 latency to hold; 0 ignores it.", ge=0, le=3_600_000, unit="ms", live=True)
    ] = 0.0
    tolerance: Annotated[
        float,
        knob("A signal this near its target (as a share of it) changes nothing.", ge=0, le=0.9, live=True),
    ] = 0.1
    up_stabilise_s: Annotated[
        float,
        knob("Add only what was asked for all this time.", ge=0, le=3600, unit="s", live=True),
    ] = 0.0
    down_stabilise_s: Annotated[
        float,
        knob("Remove only what was not asked for all this time.", ge=0, le=3600, unit="s", live=True),
    ] = 300.0
    step_percent: Annotated[
        float,
        knob(
            "Replicas added or removed within `step_s` at most, as a share of those there were; the larger of "
            "this and `step_replicas` counts.",
            ge=0,
            le=1000,
            unit="%",
            live=True,
        ),
    ] = 100.0
    step_replicas: Annotated[
        int,
        knob("Replicas added or removed within `step_s` at most.", ge=0, le=1000, unit="replicas", live=True),
    ] = 4
    step_s: Annotated[
        float, knob("Time over which changes are added up.", gt=0, le=3600, unit="s", live=True)
    ] = 15.0

    def __post_init__(self) -> None:
        if self.min_replicas > self.max_replicas:
            raise ConfigError(
                f"min_replicas = {self.min_replicas} is more than max_replicas = {self.max_replicas}; lower the one "
                "or raise the other",
                param="min_replicas",
            )
        if not (self.cpu_percent or self.memory_percent or self.queue_depth or self.p95_ms):
            raise ConfigError(
                "cpu_percent, memory_percent, queue_depth and p95_ms are all 0, so that nothing is left to decide "
                "from; give one of them a target",
                param="cpu_percent",
            )
        if not (self.step_percent or self.step_replicas):
            raise ConfigError(
                "step_percent and step_replicas are both 0, so that nothing may change; allow at least 1 replica",
                param="step_replicas",
            )

    @property
    def symptoms(self) -> bool:
        """Whether queue depth or p95 have a target."""
        return bool(self.queue_depth or self.p95_ms)

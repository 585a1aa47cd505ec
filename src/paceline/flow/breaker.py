"""Circuit breaker."""

from __future__ import annotations

from typing import Annotated

import msgspec

from paceline.base.knob import knob


class BreakerPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a failing engine or upstream is left alone, and for how long."""

    failure_threshold: Annotated[
        int, knob("Engine faults in a row that open the breaker.", ge=1, le=10_000, unit="faults", live=True)
    ] = 5
    open_s: Annotated[
        float, knob("Time the breaker stays open before it lets a probe through.", gt=0, le=3600, unit="s", live=True)
    ] = 30.0
    half_open_probes: Annotated[
        int, knob("Probes that must succeed, one at a time, to close the breaker.", ge=1, le=100, live=True)
    ] = 1

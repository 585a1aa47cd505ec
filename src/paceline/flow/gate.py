"""Admission: the gate refuses and never waits."""

from __future__ import annotations

from typing import Annotated

import msgspec

from paceline.base.knob import knob


class GatePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a request is refused instead of queued."""

    max_queue: Annotated[
        int, knob("Jobs waiting at most, all callers together.", ge=1, le=1_000_000, unit="jobs", live=True, tune=True)
    ] = 4096
    max_queue_tokens: Annotated[
        int,
        knob("Tokens waiting at most; bounds memory when texts are long.", ge=1, le=1_000_000_000, unit="tokens", live=True),
    ] = 2_000_000
    slo_ms: Annotated[
        float,
        knob(
            "Refuse a request whose predicted latency is longer than this (or than its own deadline); 0 switches off.",
            ge=0,
            le=3_600_000,
            unit="ms",
            live=True,
            tune=True,
        ),
    ] = 0.0

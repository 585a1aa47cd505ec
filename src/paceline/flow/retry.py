"""Retries with exponential back-off and full jitter."""

from __future__ import annotations

from typing import Annotated

import msgspec

from paceline.base.knob import knob


class RetryPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often and how patiently a retryable failure is tried again."""

    attempts: Annotated[int, knob("Tries in all, the first included.", ge=1, le=100)] = 3
    first_wait_s: Annotated[float, knob("Back-off before the second try.", ge=0, le=3600, unit="s")] = 0.1
    multiplier: Annotated[float, knob("Each back-off is this times the last.", ge=1, le=100)] = 2.0
    max_wait_s: Annotated[float, knob("No back-off is longer.", ge=0, le=3600, unit="s")] = 10.0

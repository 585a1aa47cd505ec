"""Dynamic batching."""

from __future__ import annotations

from typing import Annotated

import msgspec

from paceline.base.knob import knob


class BatchPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How jobs become batches. Cost is padded tokens: rows x longest length, rounded up to `bucket`."""

    max_size: Annotated[int, knob("Rows in one batch at most.", ge=1, le=4096, unit="rows", live=True, tune=True)] = 32
    max_cost: Annotated[
        int,
        knob(
            "Padded tokens in one batch at most; 0 takes the value of the measured layout. "
            "A first job larger than this still runs, alone.",
            ge=0,
            le=1_048_576,
            unit="tokens",
            live=True,
            tune=True,
        ),
    ] = 0
    max_wait_ms: Annotated[
        float,
        knob(
            "Flush timeout: the longest a job waits for company while an engine is idle.",
            ge=0,
            le=1000,
            unit="ms",
            live=True,
            tune=True,
        ),
    ] = 10.0
    adaptive: Annotated[
        bool,
        knob(
            "Wait only when the arrival rate and the measured run time say that company comes in time; "
            "`false` always waits `max_wait_ms` for a full batch.",
            live=True,
            tune=True,
        ),
    ] = True
    bucket: Annotated[
        int,
        knob("Lengths are rounded up to a multiple of this; 0 takes the measured layout's.", ge=0, le=512, unit="tokens", tune=True),
    ] = 0
    ageing_s: Annotated[
        float, knob("Waiting this long lifts a job by one priority class.", gt=0, le=3600, unit="s", live=True)
    ] = 2.0

"""Records that hold a server and a trace. Texts are linked by their numbers; -1 is none."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from paceline.flow.arrivals import EDGES_S

BANDS = len(EDGES_S) + 1

SERVER = np.dtype(
    [
        # The setting, and then the state. `mask` is a row of `masks`, -1 without a cache; `drains`: the mask alone says
        # what is cached, and no run is shared.
        *((name, "i8") for name in ("max_size", "max_cost", "bucket", "lanes", "adaptive")),
        *((name, "i8") for name in ("gated", "max_queue", "max_queue_tokens", "mask", "drains")),
        *((name, "f8") for name in ("max_wait_ms", "slo_ms", "a", "b", "c", "d")),
        # RunTime
        *((name, "f8", 4) for name in ("unit", "moment", "x", "theta")),
        ("gram", "f8", (4, 4)),
        ("usual_error", "f8"),
        ("observed", "i8"),
        # Arrivals
        ("count", "f8", BANDS),
        ("seconds", "f8", BANDS),
        *((name, "f8") for name in ("ended_at", "since")),
        # BatchQueue
        *((name, "f8") for name in ("usual_run_s", "forecast_correction", "work_s")),
        *((name, "f8") for name in ("last_put_at", "idle_since", "wake_at")),
        *(
            (name, "i8")
            for name in ("depth", "tokens", "running", "jobs_total", "batches_total", "rows_total")
        ),
        *((name, "i8") for name in ("last_rows", "lone", "oldest")),
        # Gate
        *((name, "i8") for name in ("coming_jobs", "coming_tokens", "arrived", "coming_first", "coming_end")),
        ("coming_s", "f8"),
        # The event loop
        *((name, "f8") for name in ("now", "turn_at", "rings_at", "engine_s", "makespan_s")),
        *((name, "i8") for name in ("place", "shares", "came", "refused", "hits", "shared")),
    ],
    align=True,
)
"""One server: its setting and all of its state."""
TEXT = np.dtype(
    [
        *((name, "f8") for name in ("arrive_s", "enqueued_at", "forecast_s", "cost_s")),
        *((name, "i8") for name in ("length", "key", "request", "padded", "waits")),
        *((name, "i8") for name in ("next", "rider", "last_rider")),
    ],
    align=True,
)
"""One text: from the trace, and its place among those that wait, run, or ride on another's run."""
BUCKET = np.dtype([("head", "i8"), ("tail", "i8"), ("rows", "i8")], align=True)
"""Texts of one rounded length that wait, oldest first."""
BATCH = np.dtype(
    [
        *((name, "f8") for name in ("started_at", "forecast_s", "ends_at")),
        *((name, "i8") for name in ("rows", "length", "first", "last")),
    ],
    align=True,
)
"""One batch; those that run stand in order of their starts."""
ADMISSION = np.dtype([("at", "f8"), ("work_s", "f8"), ("jobs", "i8"), ("tokens", "i8")], align=True)
KEY = np.dtype([("flight", "i8"), ("cached", "i8")], align=True)
"""The text whose run computes a key, or -1; and whether its value was stored."""
MODEL = np.dtype(
    [
        (name, "f8")
        for name in ("a", "b", "c", "d", "contention", "enter_s", "leave_s", "hit_s", "steal", "fixed_s")
    ]
)
"""The fields of a `ServiceModel` by name; the noise comes as an array."""


class World(NamedTuple):
    """Everything beside the servers, for one after another: the trace, and where its texts are."""

    starts: Any
    """As `Workload.starts`."""
    texts: Any
    """TEXT; the caller sets `arrive_s`, `length`, `key` (its place in `keys`) and `request`."""
    noise: Any
    """Factor on the run time of each batch."""
    masks: Any
    """Rehearsals x texts: what is cached. At least one row."""
    latency_s: Any
    """Servers x requests; NaN where refused."""
    keys: Any
    """KEY, one a distinct key."""
    buckets: Any
    """BUCKET by rounded length over bucket, up to the longest of all servers."""
    batches: Any
    """BATCH, one more than the most lanes."""
    coming: Any
    """ADMISSION, one more than requests; those from `coming_first` to `coming_end` are on their way."""
    missing: Any
    """Texts that each request waits for."""

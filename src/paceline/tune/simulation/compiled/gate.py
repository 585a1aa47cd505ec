"""Twin of `Gate`."""

from __future__ import annotations

from math import inf
from typing import Any

from paceline.flow.gate import ON_THE_WAY_S
from paceline.tune.simulation.compiled.batch_queue import ahead_s, rounded
from paceline.tune.simulation.compiled.compiler import compiled
from paceline.tune.simulation.compiled.run_time import predict


@compiled
def admit(s: Any, w: Any, asked: Any, longest: int) -> bool:
    """Whether a request of `asked` jobs and tokens enters; its work counts as coming until it is put."""
    now, rows, tokens = s.now, asked.jobs, asked.tokens
    if rows > s.max_queue or tokens > s.max_queue_tokens:
        return False
    _forget_arrived(s, w.coming, now)
    depth, waiting_tokens = s.depth + s.coming_jobs, s.tokens + s.coming_tokens
    wait_s = ahead_s(s, w, now) * s.forecast_correction + s.coming_s / s.lanes
    run_s = max(s.usual_run_s, predict(s, 1, rounded(s, longest)))
    if rows > 1:
        run_s = run_s + asked.work_s / s.lanes
    if depth or s.running >= s.lanes:
        if depth + rows > s.max_queue or waiting_tokens + tokens > s.max_queue_tokens:
            return False
        if wait_s + run_s > (s.slo_ms / 1e3 if s.slo_ms else inf):
            return False
    asked.at = now
    s.coming_end += 1
    s.coming_jobs += rows
    s.coming_tokens += tokens
    s.coming_s += asked.work_s
    return True


@compiled
def _forget_arrived(s: Any, coming: Any, now: float) -> None:
    arrived = s.jobs_total - s.arrived
    s.arrived += arrived
    while s.coming_first < s.coming_end:
        first = coming[s.coming_first]
        jobs = first.jobs
        gone = jobs if now - first.at > ON_THE_WAY_S else min(jobs, arrived)
        if gone < jobs and not arrived:
            return
        arrived = max(0, arrived - jobs)
        gone_tokens, gone_s = first.tokens * gone // jobs, first.work_s * gone / jobs
        s.coming_jobs -= gone
        s.coming_tokens -= gone_tokens
        s.coming_s -= gone_s
        if gone < jobs:
            first.jobs, first.tokens, first.work_s = (
                jobs - gone,
                first.tokens - gone_tokens,
                first.work_s - gone_s,
            )
            return
        s.coming_first += 1
    s.coming_s = 0.0

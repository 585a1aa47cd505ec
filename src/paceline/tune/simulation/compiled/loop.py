"""Twin of `replay`: the event loop, the cache by its rehearsal, flights, and the engines."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np

from paceline.tune.simulation.compiled.batch_queue import finished, full_rows, put, rounded, row_s, take
from paceline.tune.simulation.compiled.compiler import compiled, kept, sources_digest
from paceline.tune.simulation.compiled.gate import admit
from paceline.tune.simulation.compiled.run_time import predict
from paceline.tune.simulation.compiled.state import ADMISSION, BATCH, BUCKET, KEY


@compiled
def _open(s: Any) -> None:
    """State of a server that has just started, from its setting."""
    token_s = s.c or (s.a + s.b + s.c + s.d) / 64
    s.unit[0], s.unit[1] = s.a or token_s * 256, s.b or token_s * 16
    s.unit[2], s.unit[3] = token_s, s.d or token_s / 256
    s.ended_at, s.since = -1e6, inf
    s.usual_run_s = predict(s, full_rows(s, rounded(s, 64)), rounded(s, 64))
    s.forecast_correction = 1.0
    s.last_put_at, s.idle_since, s.wake_at = -inf, inf, inf
    s.last_rows, s.lone = 1, -1
    s.turn_at, s.rings_at = nan, inf
    s.shares = s.mask >= 0 and not s.drains


@compiled
def _pump(s: Any, m: Any, noise: Any, texts: Any, buckets: Any, batches: Any) -> None:
    s.turn_at = nan
    while take(s, texts, buckets, batches, s.now):
        batch = batches[s.running - 1]
        run_s = m.a + batch.rows * (m.b + batch.length * (m.c + batch.length * m.d))
        run_s = run_s * (1.0 + m.contention * (s.running - 1)) * noise[s.batches_total - 1]
        batch.run_s = run_s
        batch.ends_at = s.now + run_s
    if s.wake_at == inf or s.wake_at < s.rings_at:
        s.rings_at = s.wake_at


@compiled
def _cached(s: Any, text: Any, number: int, keys: Any, mask: Any) -> bool:
    return s.mask >= 0 and mask[number] and (s.drains or keys[text.key].cached)


@compiled
def _enters(s: Any, number: int, end: int, texts: Any, keys: Any, mask: Any, batches: Any, coming: Any) -> int:
    """How many texts of a request must be queued or waited for; -1 when the gate refuses it."""
    asked = coming[s.coming_end]
    asked.jobs, asked.tokens, asked.work_s = 0, 0, 0.0
    longest, computes = 0, False
    for i in range(number, end):
        text = texts[i]
        if not _cached(s, text, i, keys, mask):
            asked.jobs += 1
            asked.tokens += text.length
            asked.work_s += row_s(s, rounded(s, text.length))
            longest = max(longest, text.length)
            if not s.shares or keys[text.key].flight < 0:
                computes = True
    missing = asked.jobs
    if s.gated and computes and not admit(s, batches, coming, asked, longest):
        return -1
    return missing


@compiled
def _arrive(
    s: Any,
    m: Any,
    starts: Any,
    texts: Any,
    keys: Any,
    mask: Any,
    buckets: Any,
    batches: Any,
    coming: Any,
    missing: Any,
    latency_s: Any,
) -> None:
    request = s.came
    s.came += 1
    first, end = starts[request], starts[request + 1]
    entering = _enters(s, first, end, texts, keys, mask, batches, coming)
    if entering < 0:
        s.refused += 1
        s.now += m.hit_s
        return
    hits = end - first - entering
    s.hits += hits
    s.now += hits * m.hit_s + entering * m.enter_s
    missing[request] = entering
    if not entering:
        s.makespan_s = s.now
        latency_s[request] = s.now - texts[first].arrive_s + m.fixed_s
    for number in range(first, end):
        text = texts[number]
        if _cached(s, text, number, keys, mask):
            continue
        text.rider, text.last_rider = -1, number
        if s.shares:
            owner = keys[text.key].flight
            if owner >= 0:
                texts[texts[owner].last_rider].rider = number
                texts[owner].last_rider = number
                s.shared += 1
                continue
            keys[text.key].flight = number
        if np.isnan(s.turn_at):
            s.turn_at = s.now
        put(s, texts, buckets, batches, number, s.turn_at)


@compiled
def _end(
    s: Any,
    m: Any,
    ended: int,
    noise: Any,
    starts: Any,
    texts: Any,
    keys: Any,
    buckets: Any,
    batches: Any,
    missing: Any,
    latency_s: Any,
) -> None:
    number = batches[ended].first
    s.engine_s += batches[ended].run_s
    finished(s, batches, ended, s.now)
    _pump(s, m, noise, texts, buckets, batches)
    while number >= 0:
        text = texts[number]
        if s.shares:
            keys[text.key].flight = -1
            keys[text.key].cached = 1
        rider = number
        while rider >= 0:
            s.now += m.leave_s
            request = texts[rider].request
            missing[request] -= 1
            if not missing[request]:
                s.makespan_s = s.now
                latency_s[request] = s.now - texts[starts[request]].arrive_s + m.fixed_s
            rider = texts[rider].rider
        number = text.next


@compiled
def _first_end(s: Any, batches: Any) -> int:
    """Place of the batch that ends first, of equals the one that started first; -1 when none runs."""
    first = -1
    for i in range(s.running):
        if first < 0 or batches[i].ends_at < batches[first].ends_at:
            first = i
    return first


@compiled
def _run(s: Any, m: Any, noise: Any, starts: Any, texts: Any, masks: Any, keys: Any, latency_s: Any) -> None:
    """One trace through one server; `s` holds the totals afterwards."""
    _open(s)
    requests = len(latency_s)
    latency_s[:] = nan
    keys.flight[:] = -1
    keys.cached[:] = 0
    longest = 1
    for number in range(len(texts)):
        texts[number].waits = 0
        longest = max(longest, texts[number].length)
    buckets = np.zeros(rounded(s, longest) // s.bucket + 1, BUCKET)
    batches = np.zeros(s.lanes + 1, BATCH)
    coming = np.zeros(requests + 1, ADMISSION)
    missing = np.zeros(requests, np.int64)
    mask = masks[max(0, s.mask)]
    while True:
        ended = _first_end(s, batches)
        ends_at = batches[ended].ends_at if ended >= 0 else inf
        arrives_at = texts[starts[s.came]].arrive_s if s.came < requests else inf
        began_at = s.now = max(s.now, min(ends_at, min(arrives_at, s.rings_at)))
        if began_at == inf:
            break
        while True:
            if ends_at <= min(began_at, min(arrives_at, s.rings_at)):
                _end(s, m, ended, noise, starts, texts, keys, buckets, batches, missing, latency_s)
            elif arrives_at <= min(began_at, s.rings_at):
                _arrive(s, m, starts, texts, keys, mask, buckets, batches, coming, missing, latency_s)
            elif s.rings_at <= began_at:
                s.rings_at = inf
                _pump(s, m, noise, texts, buckets, batches)
            else:
                break
            ended = _first_end(s, batches)
            ends_at = batches[ended].ends_at if ended >= 0 else inf
            arrives_at = texts[starts[s.came]].arrive_s if s.came < requests else inf
        if not np.isnan(s.turn_at):
            _pump(s, m, noise, texts, buckets, batches)


def _entry(sources: int) -> Callable[..., None]:
    """`run_all`, closed over what it is made of."""

    def run_all(
        servers: Any, m: Any, noise: Any, starts: Any, texts: Any, masks: Any, keys: int, latency_s: Any
    ) -> None:
        assert sources >= 0
        state = np.zeros(keys, KEY)
        for i in range(len(servers)):
            _run(servers[i], m, noise, starts, texts, masks, state, latency_s[i])

    return kept(run_all)


run_all = _entry(sources_digest())
"""Run a trace through `servers` (SERVER, as set), one after another; fills them and `latency_s` (servers x requests).

`m` is a record of MODEL; `noise` one factor a batch; `starts` as `Workload.starts`; `texts` of TEXT with arrival, length,
key (0 to `keys` - 1) and request; `masks` booleans (masks x texts), at least one row.
"""

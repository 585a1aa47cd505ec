"""Twin of `BatchQueue` and `Waiting`.

One class of priority and no deadlines leave of urgency only age, so that what waits is one chain of texts per rounded
length, oldest first, and ageing changes nothing.
"""

from __future__ import annotations

from math import inf
from typing import Any

from paceline.flow.arrivals import EDGES_S, TICK_S
from paceline.flow.batch_queue import CORRECTION_STEP, LATE_SHARE
from paceline.tune.simulation.compiled.arrivals import band, batch_ended
from paceline.tune.simulation.compiled.compiler import compiled
from paceline.tune.simulation.compiled.run_time import observe, predict
from paceline.tune.simulation.compiled.state import BANDS


@compiled
def rounded(s: Any, length: int) -> int:
    """Tokens rounded up to the bucket."""
    return (length + s.bucket - 1) // s.bucket * s.bucket


@compiled
def full_rows(s: Any, padded: int) -> int:
    """Rows of a full batch of this rounded length."""
    return max(1, min(s.max_size, s.max_cost // padded))


@compiled
def row_s(s: Any, padded: int) -> float:
    """Engine time of one text of this rounded length in a full batch: `_cost_s`."""
    rows = min(s.max_size, max(1, s.max_cost // padded))
    return s.a / rows + s.b + padded * (s.c + padded * s.d)


@compiled
def ahead_s(s: Any, w: Any, now: float) -> float:
    """Engine time ahead of a newcomer, over all lanes: `_ahead_s`."""
    if not s.depth and s.running < s.lanes:
        return 0.0
    ahead = s.work_s
    for i in range(s.running):
        rest = w.batches[i].started_at + w.batches[i].forecast_s - now
        if rest > 0.0:
            ahead += rest
    return ahead / s.lanes


@compiled
def put(s: Any, w: Any, number: int, now: float) -> None:
    """Let a text wait: `put` and `Waiting.add`."""
    text = w.texts[number]
    if not s.depth:
        s.idle_since = inf
    if not s.depth and not s.running:
        pauses = s.last_rows == 1 or now - s.ended_at > EDGES_S[-1]
        s.lone = number if pauses else -1
        s.since = now
    elif now != s.last_put_at:
        s.count[band(s, now)] += 1.0
    s.last_put_at = now
    text.padded = rounded(s, text.length)
    text.enqueued_at = now
    text.forecast_s = ahead_s(s, w, now)
    text.cost_s = row_s(s, text.padded)
    text.next = -1
    text.waits = 1
    bucket = w.buckets[text.padded // s.bucket]
    if bucket.rows:
        w.texts[bucket.tail].next = number
    else:
        bucket.head = number
    bucket.tail = number
    bucket.rows += 1
    s.depth += 1
    s.tokens += text.length
    s.work_s += text.cost_s
    s.jobs_total += 1


@compiled
def _draw(s: Any, w: Any, bucket: Any, batch: Any, rows: int) -> None:
    """Move the oldest of one length to the end of the batch until it has `rows`."""
    while bucket.rows and batch.rows < rows:
        number = bucket.head
        text = w.texts[number]
        bucket.head = text.next
        bucket.rows -= 1
        text.next = -1
        text.waits = 0
        if batch.rows:
            w.texts[batch.last].next = number
        else:
            batch.first = number
        batch.last = number
        batch.rows += 1
        s.depth -= 1
        s.tokens -= text.length
        s.work_s -= text.cost_s
        if not s.depth:
            s.work_s = 0.0


@compiled
def _fill(s: Any, w: Any, batch: Any, rows: int) -> None:
    """Take the leader's and the nearest lengths out of the queue, at most `rows` texts."""
    buckets = w.buckets
    own = longest = w.texts[s.oldest].padded
    batch.rows = 0
    _draw(s, w, buckets[own // s.bucket], batch, rows)
    below, above = own // s.bucket - 1, own // s.bucket + 1
    while batch.rows < rows:
        while below >= 0 and not buckets[below].rows:
            below -= 1
        while above < len(buckets) and not buckets[above].rows:
            above += 1
        if below < 0 and above >= len(buckets):
            break
        up = below < 0 or (above < len(buckets) and above * s.bucket - own < own - below * s.bucket)
        length = (above if up else below) * s.bucket
        padded = max(longest, length)
        room = min(rows, s.max_cost // padded) - batch.rows
        joined = min(room, buckets[length // s.bucket].rows)
        apart_s = predict(s, batch.rows, longest) + predict(s, joined, length)
        if joined > 0 and predict(s, batch.rows + joined, padded) <= apart_s:
            _draw(s, w, buckets[length // s.bucket], batch, batch.rows + room)
            longest = padded
            if up:
                above += 1
            else:
                below -= 1
        elif up:
            above = len(buckets)
        else:
            below = -1
    batch.length = longest


@compiled
def _pays_to_wait(s: Any, w: Any, idle: int, now: float) -> bool:
    """Whether to hold back a batch that is not full, and until when (`wake_at`)."""
    leader = w.texts[s.oldest]
    rows, length = s.depth, leader.padded
    since = min(s.idle_since, now) if s.adaptive else leader.enqueued_at
    latest = since + s.max_wait_ms / 1e3
    if s.adaptive:
        if idle > 1 or (rows == 1 and s.oldest == s.lone):
            return False
        run_s = predict(s, rows, length)
        since_end = band(s, now)
        changes_at = s.ended_at + EDGES_S[since_end] if since_end < BANDS - 1 else inf
        gap_s = inf if s.count[since_end] < 0.5 else s.seconds[since_end] / s.count[since_end]
        extra_s = predict(s, rows + 1, length) - run_s
        free_s = inf if s.running else run_s
        for i in range(s.running):
            free_s = min(free_s, w.batches[i].started_at + w.batches[i].forecast_s - now)
        saved_s = min(run_s, max(free_s, 0.0)) + predict(s, 1, length) - run_s - extra_s
        if saved_s <= gap_s * (rows + 1) + extra_s * rows:
            return False
        latest = min(latest, changes_at)
    if latest <= now + TICK_S:
        return False
    s.idle_since = min(s.idle_since, now)
    s.wake_at = latest
    return True


@compiled
def take(s: Any, w: Any, now: float) -> bool:
    """Form and start a batch, the last of `batches`, without its run time; False for nothing to run yet."""
    s.wake_at = inf
    idle = s.lanes - s.running
    if not s.depth or idle <= 0:
        return False
    while not w.texts[s.oldest].waits:
        s.oldest += 1
    leader = w.texts[s.oldest]
    rows = full_rows(s, leader.padded)
    if s.depth < rows and _pays_to_wait(s, w, idle, now):
        return False
    if idle > 1:
        whole = min(rows, s.depth)
        share = (whole + idle - 1) // idle
        if predict(s, whole, leader.padded) - predict(s, share, leader.padded) > s.a:
            rows = share
    batch = w.batches[s.running]
    _fill(s, w, batch, rows)
    batch.started_at = now
    batch.forecast_s = predict(s, batch.rows, batch.length)
    if leader.forecast_s > batch.forecast_s:
        latency_s = now - leader.enqueued_at + batch.forecast_s
        late = 1.0 if latency_s > leader.forecast_s * s.forecast_correction + s.usual_run_s else 0.0
        correction = s.forecast_correction * (1.0 + CORRECTION_STEP * (late - LATE_SHARE))
        s.forecast_correction = min(4.0, max(0.25, correction))
    if s.depth:
        s.usual_run_s += 0.1 * (batch.forecast_s - s.usual_run_s)
    s.idle_since = inf
    s.lone = -1
    s.running += 1
    s.batches_total += 1
    s.rows_total += batch.rows
    return True


@compiled
def finished(s: Any, w: Any, number: int, now: float) -> None:
    """Free the lane of the batch at place `number`, and learn from it."""
    batches = w.batches
    rows, length, run_s = batches[number].rows, batches[number].length, now - batches[number].started_at
    s.running -= 1
    for i in range(number, s.running):
        batches[i] = batches[i + 1]
    s.last_rows = rows
    batch_ended(s, now, not s.depth and not s.running)
    observe(s, rows, length, run_s)

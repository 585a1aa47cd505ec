"""Twin of `replay`: the event loop, the cache by its rehearsal, flights, and the engines."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan, nan
from typing import Any

from paceline.tune.simulation.compiled.batch_queue import finished, full_rows, put, rounded, row_s, take
from paceline.tune.simulation.compiled.compiler import compiled, kept, sources_digest
from paceline.tune.simulation.compiled.gate import admit
from paceline.tune.simulation.compiled.run_time import predict
from paceline.tune.simulation.compiled.state import World


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
def _work(s: Any, m: Any, w: Any, seconds: float) -> None:
    """The event loop works."""
    s.now += seconds
    if s.running == s.lanes:
        for i in range(s.running):
            w.batches[i].ends_at += m.steal * seconds


@compiled
def _pump(s: Any, m: Any, w: Any) -> None:
    """Start what can start, and set the timer."""
    s.turn_at = nan
    while take(s, w, s.now):
        batch = w.batches[s.running - 1]
        run_s = m.a + batch.rows * (m.b + batch.length * (m.c + batch.length * m.d))
        run_s = run_s * (1.0 + m.contention * (s.running - 1)) * w.noise[s.batches_total - 1]
        batch.ends_at = s.now + run_s
    if s.wake_at == inf or s.wake_at < s.rings_at:
        s.rings_at = s.wake_at


@compiled
def _cached(s: Any, w: Any, number: int) -> bool:
    """Whether memory answers a text."""
    return s.mask >= 0 and w.masks[s.mask, number] and (s.drains or w.keys[w.texts[number].key].cached)


@compiled
def _entering(s: Any, w: Any, first: int, end: int) -> int:
    """How many texts of a request must be queued or waited for; -1 when the gate refuses it."""
    asked = w.coming[s.coming_end]
    asked.jobs, asked.tokens, asked.work_s = 0, 0, 0.0
    longest, computes = 0, False
    for number in range(first, end):
        if not _cached(s, w, number):
            text = w.texts[number]
            asked.jobs += 1
            asked.tokens += text.length
            asked.work_s += row_s(s, rounded(s, text.length))
            longest = max(longest, text.length)
            if not s.shares or w.keys[text.key].flight < 0:
                computes = True
    entering = asked.jobs
    if s.gated and computes and not admit(s, w, asked, longest):
        return -1
    return entering


@compiled
def _arrive(s: Any, m: Any, w: Any) -> None:
    """The next request."""
    request = s.came
    s.came += 1
    first, end = w.starts[request], w.starts[request + 1]
    entering = _entering(s, w, first, end)
    if entering < 0:
        s.refused += 1
        _work(s, m, w, m.hit_s)
        return
    hits = end - first - entering
    s.hits += hits
    _work(s, m, w, hits * m.hit_s + entering * m.enter_s)
    w.missing[request] = entering
    if not entering:
        _answer(s, m, w, request)
    for number in range(first, end):
        if not _cached(s, w, number):
            _enter(s, w, number)


@compiled
def _enter(s: Any, w: Any, number: int) -> None:
    """Put a text into the queue, or let it ride on the run of an equal one."""
    text = w.texts[number]
    text.rider, text.last_rider = -1, number
    if s.shares:
        flight = w.keys[text.key].flight
        if flight >= 0:
            owner = w.texts[flight]
            w.texts[owner.last_rider].rider = number
            owner.last_rider = number
            s.shared += 1
            return
        w.keys[text.key].flight = number
    if isnan(s.turn_at):
        s.turn_at = s.now
    put(s, w, number, s.turn_at)


@compiled
def _freed(s: Any, w: Any, ended: int) -> int:
    """Free the lane of the batch at place `ended`; its first text."""
    first: int = w.batches[ended].first
    s.engine_s += w.batches[ended].ends_at - w.batches[ended].started_at
    finished(s, w, ended, s.now)
    return first


@compiled
def _leave(s: Any, m: Any, w: Any, number: int) -> None:
    """The texts of a batch that ended and those that rode on their runs, from its first on."""
    while number >= 0:
        text = w.texts[number]
        if s.shares:
            w.keys[text.key].flight = -1
            w.keys[text.key].cached = 1
        rider = number
        while rider >= 0:
            _work(s, m, w, m.leave_s)
            request = w.texts[rider].request
            w.missing[request] -= 1
            if not w.missing[request]:
                _answer(s, m, w, request)
            rider = w.texts[rider].rider
        number = text.next


@compiled
def _answer(s: Any, m: Any, w: Any, request: int) -> None:
    s.makespan_s = s.now
    w.latency_s[s.place, request] = s.now - w.texts[w.starts[request]].arrive_s + m.fixed_s


@compiled
def _first_end(s: Any, w: Any) -> int:
    """Place of the batch that ends first, of equals the one that started first; the place behind all for none."""
    first = 0
    w.batches[s.running].ends_at = inf
    for i in range(1, s.running + 1):
        if w.batches[i].ends_at < w.batches[first].ends_at:
            first = i
    return first


@compiled
def _run(s: Any, m: Any, w: Any) -> None:
    """One trace through one server; `s` holds the totals afterwards."""
    requests = len(w.starts) - 1
    began_at = -inf
    while True:
        ended = _first_end(s, w)
        ends_at = w.batches[ended].ends_at
        arrives_at = w.texts[w.starts[s.came]].arrive_s if s.came < requests else inf
        pumps, leaving = True, -1
        if ends_at <= min(began_at, arrives_at, s.rings_at):
            leaving = _freed(s, w, ended)
        elif arrives_at <= min(began_at, s.rings_at):
            _arrive(s, m, w)
            pumps = False
        elif s.rings_at <= began_at:
            s.rings_at = inf
        elif not isnan(s.turn_at):
            began_at = -inf
        else:
            happens_at = min(ends_at, arrives_at, s.rings_at)
            if happens_at == inf:
                break
            began_at = s.now = max(s.now, happens_at)
            pumps = False
        if pumps:  # in one place, since what is compiled grows with every place
            _pump(s, m, w)
            _leave(s, m, w, leaving)


@compiled
def _reset(s: Any, w: Any) -> None:
    """A server that has just started, and nobody there."""
    _open(s)
    for number in range(len(w.texts)):
        w.texts[number].waits = 0
    for key in range(len(w.keys)):
        w.keys[key].flight, w.keys[key].cached = -1, 0
    for place in range(len(w.buckets)):
        w.buckets[place].rows = 0
    for request in range(len(w.starts) - 1):
        w.latency_s[s.place, request] = nan


def _entry(sources: int) -> Callable[[Any, Any, World], None]:
    """`run_all`, closed over what it is made of."""

    def run_all(servers: Any, m: Any, w: World) -> None:
        assert sources >= 0
        for place in range(len(servers)):
            s = servers[place]
            s.place = place
            _reset(s, w)
            _run(s, m, w)

    return kept(run_all)


run_all = _entry(sources_digest())
"""Run the trace of `w` through `servers` (SERVER, as set), one after another; fills them and `w.latency_s`.

`m` is a record of MODEL. Whatever else `w` holds is overwritten.
"""

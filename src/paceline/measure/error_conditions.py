"""What a server must refuse politely: wrong paths, broken bodies, bytes that are not HTTP, callers who hang up.

Each must get a 4xx answer (or, where no answer can be had, a closed connection), never a 5xx, never silence; and after
all of them a good request must be answered as before.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from paceline.base.errors import Unreachable
from paceline.base.slo import State
from paceline.measure.engine.link import resolve
from paceline.measure.exchange import exchange
from paceline.measure.load.request import address, requests, serialise
from paceline.measure.plan import Plan, Target

SCHEMA = "paceline.error-conditions/1"
OVERSIZED_BYTES = 16 << 20
HANG_UPS = 20
PATIENCE_S = 10.0
"""An answer to a bad request that takes longer counts as none."""


class Condition(msgspec.Struct, frozen=True):
    """One thing tried. `status` is None where the server closed the connection, or was not to answer."""

    name: str
    expected: str
    state: State
    message: str
    status: int | None = None
    seconds: float | None = None


class ErrorReport(msgspec.Struct, frozen=True):
    """All of them, in the order they were tried."""

    name: str
    url: str
    state: State
    conditions: list[Condition]
    schema: str = SCHEMA


@dataclass(frozen=True)
class _Case:
    name: str
    request: bytes
    may_close: bool = False
    """A closed connection is as good as a 4xx: the server cannot, or need not, read on."""


def try_conditions(plan: Plan, interrupted: Callable[[], bool] = lambda: False) -> ErrorReport:
    """Send each bad request once, then see whether the server still answers a good one.

    Raises Unreachable when nobody answers a good request to begin with.
    """
    good = requests(plan, None)[0]
    exchange(plan.target, good, plan.timeout_s)
    found = []
    for case in _cases(plan):
        if interrupted():
            break
        found.append(_try(plan, case))
    found += [_hang_up(plan, good), _recovered(plan, good)]
    order: tuple[State, ...] = ("critical", "warning", "ok")
    worst = next(state for state in order if any(condition.state == state for condition in found))
    return ErrorReport(plan.name, plan.target.url, worst, found)


def _cases(plan: Plan) -> list[_Case]:
    """TRACE and GET are safe to send to any server; bodies go only where bodies are meant to go."""
    free = msgspec.structs.replace(plan, target=msgspec.structs.replace(plan.target, method=None))
    cases = [
        _Case("wrong path", serialise(free, None, path="/no-such-path-of-paceline", method="GET")),
        _Case("wrong method", serialise(free, None, method="TRACE")),
        _Case("not HTTP", b"\x16\x03\x01 this is not HTTP \xff\xfe\r\n\r\n", may_close=True),
    ]
    if plan.payload.task != "http":
        huge = b'{"model": "m", "input": "' + b"a " * (OVERSIZED_BYTES // 2) + b'"}'
        cases += [
            _Case("empty body", serialise(plan, b"")),
            _Case("broken JSON", serialise(plan, b'{"input": ["half')),
            _Case(
                "wrong types",
                serialise(plan, b'{"model": 7, "input": {"a": null}, "messages": 3, "prompt": {}}'),
            ),
            _Case("oversized body", serialise(plan, huge), may_close=True),
        ]
    return cases


def _try(plan: Plan, case: _Case) -> Condition:
    expected = "4xx, or the connection closed" if case.may_close else "4xx"
    try:
        answer = exchange(plan.target, case.request, PATIENCE_S)
    except Unreachable as error:
        closed = isinstance(error.__context__, ConnectionError)
        if closed and case.may_close:
            return Condition(case.name, expected, "ok", "closed the connection")
        return Condition(
            case.name, expected, "critical", "closed without an answer" if closed else error.message
        )
    if 400 <= answer.status <= 499:
        return Condition(case.name, expected, "ok", "refused", answer.status, answer.seconds)
    if answer.status >= 500:
        said = f"failed instead of refusing: {answer.excerpt()}"
        return Condition(case.name, expected, "critical", said, answer.status, answer.seconds)
    return Condition(case.name, expected, "warning", "accepted", answer.status, answer.seconds)


def _hang_up(plan: Plan, good: bytes) -> Condition:
    """Half a request and away, many times: what such callers leave behind shows in the request after them."""
    where = address(plan.target, plan.payload.task)
    name, expected = f"{HANG_UPS} callers hang up", "nothing"
    for _ in range(HANG_UPS):
        try:
            family, socket_address = resolve(where)
            with socket.socket(family, socket.SOCK_STREAM) as link:
                link.settimeout(PATIENCE_S)
                link.connect(socket_address)
                link.sendall(good[: len(good) // 2])
        except OSError as error:
            return Condition(name, expected, "critical", f"no connection: {error.strerror or error}")
    return Condition(name, expected, "ok", "left in the middle of a request")


def _recovered(plan: Plan, good: bytes) -> Condition:
    name = "a good request afterwards"
    wanted = plan.expect.status
    expected = ", ".join(map(str, wanted)) or "2xx"
    target: Target = plan.target
    try:
        answer = exchange(target, good, plan.timeout_s)
    except Unreachable as error:
        return Condition(name, expected, "critical", error.message)
    met = answer.status in wanted if wanted else 200 <= answer.status <= 299
    return Condition(name, expected, "ok" if met else "critical", "answered", answer.status, answer.seconds)

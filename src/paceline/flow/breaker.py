"""Circuit breaker: a part that fails again and again is left alone for a while, then probed."""

from __future__ import annotations

from types import TracebackType
from typing import Annotated, Literal

import msgspec

from paceline.base.clock import Clock, monotonic
from paceline.base.errors import CircuitOpen, EngineError
from paceline.base.knob import knob

BreakerState = Literal["closed", "half_open", "open"]
_STATE_NUMBER: dict[BreakerState, float] = {"closed": 0, "half_open": 1, "open": 2}


class BreakerPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a failing engine or upstream is left alone, and for how long."""

    failure_threshold: Annotated[
        int, knob("Engine faults in a row that open the breaker.", ge=1, le=10_000, unit="faults", live=True)
    ] = 5
    open_s: Annotated[
        float,
        knob(
            "Time the breaker stays open before it lets a probe through.",
            gt=0,
            le=3600,
            unit="s",
            live=True,
        ),
    ] = 30.0
    half_open_probes: Annotated[
        int, knob("Probes that must succeed, one at a time, to close the breaker.", ge=1, le=100, live=True)
    ] = 1


class Breaker:
    """closed -> (faults in a row) -> open -> (time) -> half open -> (probes succeed) -> closed.

    Every call takes a ticket with `allow` and hands it back with exactly one of `record_success`,
    `record_failure` or `release`; `guard` does both. A ticket from before the last change of state is void: a slow
    call that began before the breaker opened neither closes it nor occupies the probe's place. Belongs to one thread.
    """

    def __init__(self, policy: BreakerPolicy, clock: Clock = monotonic, *, name: str = "the engine") -> None:
        self.policy = policy
        """May be replaced while running."""
        self._clock = clock
        self._name = name
        self._state: BreakerState = "closed"
        self._epoch = 0
        self._probing = False
        self._probes_passed = 0
        self._probe_at = 0.0
        self.failures_in_row = 0
        self.failures_total = 0
        self.opened_total = 0
        self.refused_total = 0

    @property
    def state(self) -> BreakerState:
        """`half_open` as soon as the next call would be a probe."""
        if self._state == "open" and self._clock() >= self._probe_at:
            return "half_open"
        return self._state

    def check(self) -> None:
        """Raise CircuitOpen where `allow` would, but take no ticket: for refusing early."""
        if self._state != "closed" and (self._probing or self._clock() < self._probe_at):
            self._refuse()

    def allow(self) -> int:
        """A ticket for one call; raises CircuitOpen while open, or while another probe is out."""
        if self._state != "closed":
            self.check()
            if self._state == "open":
                self._enter("half_open")
            self._probing = True
        return self._epoch

    def record_success(self, ticket: int) -> None:
        """The call worked."""
        if ticket != self._epoch:
            return
        self.failures_in_row = 0
        if self._state == "half_open":
            self._probing = False
            self._probes_passed += 1
            if self._probes_passed >= self.policy.half_open_probes:
                self._enter("closed")

    def record_failure(self, ticket: int) -> None:
        """The call failed by the guarded part's fault."""
        self.failures_total += 1
        if ticket != self._epoch:
            return
        self.failures_in_row += 1
        if self._state == "half_open" or self.failures_in_row >= self.policy.failure_threshold:
            self._probe_at = self._clock() + self.policy.open_s
            self.opened_total += 1
            self._enter("open")

    def release(self, ticket: int) -> None:
        """The call ended without telling anything: cancelled, expired, or the caller's own mistake."""
        if ticket == self._epoch:
            self._probing = False

    def guard(self, *faults: type[BaseException]) -> Guard:
        """`with breaker.guard():` around one call; `faults` count as failures, EngineError when none is given."""
        return Guard(self, faults or (EngineError,))

    def stats(self) -> dict[str, float]:
        """`state` is 0 closed, 1 half open, 2 open."""
        return {
            "state": _STATE_NUMBER[self.state],
            "failures_in_row": self.failures_in_row,
            "failures_total": self.failures_total,
            "opened_total": self.opened_total,
            "refused_total": self.refused_total,
        }

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._epoch += 1
        self._probing = False
        self._probes_passed = 0
        if state == "closed":
            self.failures_in_row = 0

    def _refuse(self) -> None:
        self.refused_total += 1
        # While a probe is out its answer decides, and nobody knows when that comes: look again soon.
        wait_s = min(1.0, self.policy.open_s) if self._probing else self._probe_at - self._clock()
        raise CircuitOpen(
            f"{self._name} failed {self.failures_in_row} times in a row (limit {self.policy.failure_threshold}); "
            f"try again in {wait_s:.1f} s, when it is probed",
            retry_after_s=wait_s,
        )


class Guard:
    """One call under a breaker."""

    __slots__ = ("_breaker", "_faults", "_ticket")

    def __init__(self, breaker: Breaker, faults: tuple[type[BaseException], ...]) -> None:
        self._breaker = breaker
        self._faults = faults

    def __enter__(self) -> None:
        self._ticket = self._breaker.allow()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._breaker.record_success(self._ticket)
        elif issubclass(kind, self._faults):
            self._breaker.record_failure(self._ticket)
        else:
            self._breaker.release(self._ticket)

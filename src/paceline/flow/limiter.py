"""Rate limits per minute and per hour, per key and per endpoint.

Windows are the full minutes and hours of the wall clock, and in each at most `limit` requests pass: a bound anybody can
check with a log file. The price is that twice the limit may pass around the full minute.

With one process the limiter counts by itself. With several it takes leases from a shared ledger and counts those down,
so that most decisions need no round trip. A lease is what the process needed in the last tenth of a second, never more
than `lease_share` of what is left, and what lies unused for a second is handed back: nothing is over the limit, and
next to nothing is stranded.

While the ledger is away each process goes on with its share of what was left (limit / known processes), says so in
`stats`, and asks again every second; what passed meanwhile is booked when the ledger is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from paceline.base.clock import Clock
from paceline.base.errors import PacelineError, RateLimited
from paceline.base.knob import knob
from paceline.flow.meter import Meter
from paceline.flow.quota import HOUR_S, Ledger
from paceline.flow.recent import Recent

_MINUTE_S = 60
_SWEEP_EVERY_S = 1.0


_PerMinute = Annotated[
    int,
    knob("Requests per minute and key; 0 is no limit.", ge=0, le=100_000_000, unit="requests/min", live=True),
]
_PerHour = Annotated[
    int,
    knob("Requests per hour and key; 0 is no limit.", ge=0, le=1_000_000_000, unit="requests/h", live=True),
]


class EndpointLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one endpoint or token; 0 means no limit."""

    rpm: _PerMinute = 0
    rph: _PerHour = 0


class LimitPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many requests a caller may make."""

    rpm: _PerMinute = 0
    rph: _PerHour = 0
    endpoints: Annotated[
        dict[str, EndpointLimit],
        knob("Limits of single endpoints, by path; each replaces the general ones.", live=True),
    ] = {}
    tokens: Annotated[
        dict[str, EndpointLimit],
        knob("Limits of single bearer tokens, by token name; each replaces the others.", live=True),
    ] = {}
    backend: Annotated[
        Literal["local", "redis"],
        knob("`local` counts on this host (all its worker processes together), `redis` over all hosts."),
    ] = "local"
    lease_share: Annotated[
        float,
        knob(
            "Largest part of what is left of a shared quota that one process may lease at a time; "
            "the sum of leases never exceeds the limit.",
            gt=0,
            le=1,
        ),
    ] = 0.1
    max_keys: Annotated[
        int,
        knob(
            "Callers counted at a time, per endpoint; beyond it those who called longest ago are forgotten.",
            ge=2,
            le=100_000_000,
            unit="keys",
        ),
    ] = 100_000


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """One decision, and what the rate-limit headers say: of the window that has the least left."""

    allowed: bool
    limit: int
    """Requests in the window; 0 when nothing is limited, and then the rest means nothing."""
    remaining: int
    """What is left for this caller; exact in one process, as of the last lease when shared."""
    reset_s: float
    """Seconds to the end of the window."""
    retry_after_s: float
    """0 when allowed."""
    window_s: int

    def refusal(self) -> RateLimited:
        """The error to raise when not allowed."""
        return RateLimited(
            f"all {self.limit} requests per {'minute' if self.window_s == _MINUTE_S else 'hour'} are used up; "
            f"try again in {self.retry_after_s:.1f} s",
            retry_after_s=self.retry_after_s,
        )


UNLIMITED = Verdict(allowed=True, limit=0, remaining=0, reset_s=0.0, retry_after_s=0.0, window_s=0)
_Scope = str | tuple[str, str]


class Limiter:
    """Decides who may pass. Belongs to one thread, and with a ledger to one event loop."""

    def __init__(
        self, policy: LimitPolicy, ledger: Ledger | None = None, clock: Clock = time.time, *, peers: int = 1
    ) -> None:
        """`ledger` None: this process is the only one. `clock` gives seconds since the epoch.

        `peers`: processes that will share the ledger at least, for the time when it is away.
        """
        self._ledger = ledger
        self._clock = clock
        self._min_peers = peers
        self._callers: Recent[_Scope, tuple[Meter, ...]] = Recent(policy.max_keys, keep_s=HOUR_S)
        self._stocked: set[Meter] = set()
        self.allowed_total = 0
        self.refused_total = 0
        self.leases_total = 0
        self.fallback_total = 0
        self._adrift = False
        self.configure(policy)

    def configure(self, policy: LimitPolicy) -> None:
        """Take other limits (`rpm`, `rph`, `endpoints`, `tokens`); without a ledger everybody starts with fresh counts."""
        self._general = EndpointLimit(policy.rpm, policy.rph)
        self._endpoints = dict(policy.endpoints)
        self._tokens = dict(policy.tokens)
        self._callers.clear()

    def configure_endpoint(self, path: str, *, rpm: int = 0, rph: int = 0) -> None:
        """Limit one endpoint, 0 for no limit; counts start afresh as in `configure`."""
        self._endpoints[path] = EndpointLimit(rpm, rph)
        self._callers.clear()

    def take_nowait(self, key: str, endpoint: str, token_name: str | None = None) -> Verdict | None:
        """Count one request if it may pass; None when a lease is needed first: then await `take`.

        `key` names the caller. The limits of `token_name` count over all endpoints; those of an endpoint count there
        per key; the general ones count per key over all other endpoints. A refusal counts nothing.
        """
        meters = self._meters(key, endpoint, token_name)
        if not meters:
            return UNLIMITED
        now = self._clock()
        for meter in meters:
            if meter.left <= 0 or now >= meter.usable_until:
                if self._ledger is not None or now < meter.usable_until:
                    return self._short(meters, now)
                meter.open(now)
        tight = meters[0]
        for meter in meters:
            meter.left -= 1
            if meter.left + meter.elsewhere < tight.left + tight.elsewhere:
                tight = meter
        self.allowed_total += 1
        return Verdict(
            True, tight.limit, tight.left + tight.elsewhere, tight.window_ends_at - now, 0.0, tight.window_s
        )

    async def take(self, key: str, endpoint: str, token_name: str | None = None) -> Verdict:
        """As `take_nowait`, fetching leases where needed. Waits no longer than the ledger takes to answer or fail."""
        while True:
            verdict = self.take_nowait(key, endpoint, token_name)
            if verdict is not None:
                return verdict
            now = self._clock()
            await self._stock([m for m in self._meters(key, endpoint, token_name) if m.needs_lease(now)])

    async def run(self) -> None:
        """`sweep` every second until cancelled; needed with a ledger only."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY_S)
            await self.sweep()

    async def sweep(self) -> None:
        """Hand back the leases nothing was taken from since the last sweep."""
        now = self._clock()
        self._stocked = {meter for meter in self._stocked if meter.returnable(now)}
        await self._hand_back([meter for meter in self._stocked if meter.idle()])

    async def close(self) -> None:
        """Hand back every lease."""
        now = self._clock()
        await self._hand_back([meter for meter in self._stocked if meter.returnable(now)])
        self._stocked.clear()

    def stats(self) -> dict[str, float]:
        """`fallback_total` counts asks the ledger did not answer, `adrift` is 1 while it does not."""
        return {
            "allowed_total": self.allowed_total,
            "refused_total": self.refused_total,
            "leases_total": self.leases_total,
            "fallback_total": self.fallback_total,
            "adrift": float(self._adrift),
            "keys": len(self._callers),
        }

    def health(self) -> dict[str, object]:
        """State for `/health`; `fallback` means every process grants its share of the limits on its own."""
        if self._ledger is None:
            return {"status": "ok", "shared": False}
        return {"status": "fallback" if self._adrift else "ok", "shared": True, "peers": self._peers()}

    def _meters(self, key: str, endpoint: str, token_name: str | None) -> tuple[Meter, ...]:
        """The windows this request counts in; none when it is not limited."""
        scope: _Scope = key
        limit = self._endpoints.get(endpoint)
        if limit is None:
            limit = self._general
        else:
            scope = (endpoint, key)
        if token_name is not None and token_name in self._tokens:
            limit = self._tokens[token_name]
            scope = ("", token_name)
        if not (limit.rpm or limit.rph):
            return ()
        meters = self._callers.get(scope)
        if meters is None:
            # A line feed is in no path and no name, so that no two scopes share a key.
            name = f"key\n{scope}" if isinstance(scope, str) else "at\n{}\n{}".format(*scope)
            windows = ((limit.rpm, _MINUTE_S), (limit.rph, HOUR_S))
            meters = tuple(Meter(f"{name}\n{span_s}", bound, span_s) for bound, span_s in windows if bound)
            self._callers.put(scope, meters, self._clock())
        return meters

    def _short(self, meters: tuple[Meter, ...], now: float) -> Verdict | None:
        """A refusal if any window is used up, None if a lease may help."""
        refusing = [meter for meter in meters if meter.refuses(now)]
        if not refusing:
            return None
        self.refused_total += 1
        last = max(refusing, key=lambda meter: meter.window_ends_at)
        reset_s = last.window_ends_at - now
        return Verdict(False, last.limit, 0, reset_s, reset_s, last.window_s)

    async def _stock(self, meters: list[Meter]) -> None:
        """Return when each meter had an answer; one ask a meter is under way, whoever began it or has left since."""
        for meter in meters:
            meter.waiting += 1
            if meter.flight is None:
                meter.flight = asyncio.create_task(self._lease(meter))
        flights = [meter.flight for meter in meters if meter.flight is not None]
        try:
            await asyncio.wait(flights)
        finally:
            for meter in meters:
                meter.waiting -= 1
        for flight in flights:
            flight.result()

    async def _lease(self, meter: Meter) -> None:
        ledger = self._ledger
        assert ledger is not None
        asked_at = self._clock()
        try:
            if meter.debt:
                await ledger.give_back(meter.key, meter.window, -meter.debt, meter.window_s)
                meter.settle()
            grant = await ledger.lease(meter.key, meter.limit, meter.want(asked_at), meter.window_s)
        except (OSError, PacelineError):
            self.fallback_total += 1
            self._adrift = True
            meter.fall_back(self._clock(), self._peers())
        else:
            self.leases_total += 1
            self._adrift = False
            meter.accept(grant, asked_at, self._clock())
            if grant.granted:
                self._stocked.add(meter)
        finally:
            meter.flight = None

    async def _hand_back(self, meters: Iterable[Meter]) -> None:
        """What does not arrive stays leased: the limit errs on the strict side."""
        ledger = self._ledger
        if ledger is None:
            return

        async def give(meter: Meter) -> None:
            with contextlib.suppress(OSError, PacelineError):
                await ledger.give_back(meter.key, meter.window, meter.empty(), meter.window_s)

        await asyncio.gather(*map(give, meters))

    def _peers(self) -> int:
        return max(self._min_peers, self._ledger.peers if self._ledger is not None else 1)

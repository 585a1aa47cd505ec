"""The settings of a running server: what is in force, what is on trial, and what it goes back to.

A change without a lease is in force until the server stops. With a lease it is on trial: unless the lease is renewed or
the trial kept in time, everything goes back to what was in force before the lease. So whoever tries settings may die at
any point. No IO and no clock of its own: `now` is a parameter, in seconds that never go back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from paceline.base.errors import ConfigError, LeaseHeld, LeaseUnknown, SettingRefused
from paceline.settings.sources import changed
from paceline.settings.tree import Settings, iter_knobs, leaves

ORIGIN: Final = "/admin/settings"

Changes = dict[str, tuple[Any, Any]]
"""Old and new value by dotted name; None for an entry of a table that is not there."""


class Lease(msgspec.Struct, frozen=True):
    """A trial, until `ends_at` (the clock of `now`)."""

    id: str
    ends_at: float
    holder: str
    """Who began it."""


class Event(msgspec.Struct, frozen=True):
    """What was done to the settings, for the audit."""

    kind: Literal["change", "revert", "expire", "keep"]
    who: str
    version: int
    changed: Changes
    lease: str | None


class State(msgspec.Struct, frozen=True):
    """What a successor of a process that died needs to go on: values of the live settings, by name."""

    version: int
    current: dict[str, Any]
    before: dict[str, Any]
    """What the trial goes back to; as `current` without a lease."""
    lease: Lease | None


class LiveSettings:
    """The settings in force. Every call first ends a trial whose time is over.

    Invariants: only live settings differ from the settings at the start; without a lease nothing is on trial.
    """

    def __init__(self, settings: Settings, new_id: Callable[[], str]) -> None:
        """`new_id` names leases; nobody should be able to guess them."""
        self.current = settings
        self.version = 0
        """Counts the changes of `current`."""
        self.lease: Lease | None = None
        self.events: list[Event] = []
        """What happened; the driver tells of it and clears the list."""
        self._start = self._before = settings
        self._new_id = new_id

    def change(
        self,
        changes: Mapping[str, Any],
        now: float,
        *,
        who: str,
        lease_s: float | None = None,
        lease: str | None = None,
    ) -> Changes:
        """Change live settings, all or none. With `lease_s` on trial; with `lease`, as a part of that trial.

        Returns what differs. Raises LeaseHeld, LeaseUnknown, NotLive, and SettingRefused for values.
        """
        self.expire(now)
        if lease is not None:
            self._held(lease)
        elif self.lease is not None:
            left_s = self.lease.ends_at - now
            raise LeaseHeld(
                f"the settings are on trial by {self.lease.holder} for another {left_s:.1f} s unless they renew it; "
                "name their lease to join the trial, or come back after that",
                retry_after_s=left_s,
            )
        try:
            updated = changed(self.current, changes, ORIGIN)
        except ConfigError as error:
            raise SettingRefused(error.message, param=error.param) from None
        begins = self.lease is None and lease_s is not None
        if lease_s is not None:
            self._prolong(now + lease_s, who)
        if updated == self.current and not begins:
            return {}
        return self._enter(updated, "change", who, lease_id=self.lease.id if self.lease else None)

    def renew(self, lease: str, lease_s: float, now: float) -> None:
        """Let the trial go on until `lease_s` from now. Raises LeaseUnknown."""
        self.expire(now)
        self._prolong(now + lease_s, self._held(lease).holder)

    def revert(self, lease: str, now: float, *, who: str) -> Changes:
        """End the trial and go back. Raises LeaseUnknown."""
        self.expire(now)
        return self._go_back(self._held(lease), "revert", who)

    def keep(self, lease: str, now: float, *, who: str) -> Changes:
        """End the trial and stay: what it changed. Raises LeaseUnknown."""
        self.expire(now)
        held, tried = self._held(lease), self.current
        kept = differences(self._before, tried)
        self.lease = None
        self.events.append(Event("keep", who, self.version, kept, held.id))
        return kept

    def expire(self, now: float) -> None:
        """Go back if the trial's time is over."""
        lease = self.lease
        if lease is not None and lease.ends_at <= now:
            self._go_back(lease, "expire", lease.holder)

    # -- surviving a restart of the process ---------------------------------------------------------------------

    def state(self) -> State:
        """What `resume` takes."""
        before = self._before if self.lease else self.current
        return State(self.version, live_values(self.current), live_values(before), self.lease)

    def resume(self, state: State) -> None:
        """Go on where another process with the same settings at its start has ended."""
        self.current = changed(self._start, state.current, ORIGIN)
        self._before = changed(self._start, state.before, ORIGIN)
        self.version, self.lease = state.version, state.lease

    # -- pieces -------------------------------------------------------------------------------------------------

    def _held(self, lease: str) -> Lease:
        if self.lease is None or self.lease.id != lease:
            raise LeaseUnknown(
                f"there is no lease {lease!r} now: it ended and its settings went back, was kept or reverted, or never "
                "was; take a new one with lease_s",
                param="lease",
            )
        return self.lease

    def _prolong(self, ends_at: float, who: str) -> None:
        """Begin a trial, or let it go on."""
        if self.lease is None:
            self._before = self.current
            self.lease = Lease(self._new_id(), ends_at, who)
        else:
            self.lease = msgspec.structs.replace(self.lease, ends_at=ends_at)

    def _go_back(self, lease: Lease, kind: Literal["revert", "expire"], who: str) -> Changes:
        self.lease = None
        return self._enter(self._before, kind, who, lease_id=lease.id)

    def _enter(
        self,
        settings: Settings,
        kind: Literal["change", "revert", "expire"],
        who: str,
        *,
        lease_id: str | None,
    ) -> Changes:
        differing = differences(self.current, settings)
        self.version += bool(differing)
        self.current = settings
        self.events.append(Event(kind, who, self.version, differing, lease_id))
        return differing


def differences(old: Settings, new: Settings) -> Changes:
    """What differs, by dotted name."""
    before, after = (
        {name: value for name, knob, value in leaves(each) if knob.entry is None} for each in (old, new)
    )
    return {
        name: (before.get(name), after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }


def live_values(settings: Settings) -> dict[str, Any]:
    """The values of the live settings, tables as a whole."""
    return {knob.name: value_of(settings, knob.name) for knob in iter_knobs() if knob.live}


def value_of(settings: Settings, name: str) -> Any:
    """The value of the setting `name`, as JSON has it."""
    value: Any = settings
    for key in name.split("."):
        value = getattr(value, key)
    return msgspec.to_builtins(value)

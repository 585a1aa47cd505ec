"""Live settings of a process: the parts that take them over, and the driver around `LiveSettings`."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from paceline.app.audit import Audit
from paceline.app.generator import OpenGenerator
from paceline.app.vectors import OpenVectors
from paceline.base.admin_api import (
    Batches,
    LeaseState,
    OldNew,
    SettingsChange,
    SettingsChanged,
    SettingsState,
    SettingState,
    Steps,
    StepTimes,
)
from paceline.base.clock import Clock, loop_clock
from paceline.base.generation import Generator
from paceline.embed.lane import LocalLane
from paceline.embed.service import EmbedService
from paceline.flow.batch_ring import BatchRing
from paceline.flow.cache.tiers import Tiers
from paceline.flow.limiter import Limiter
from paceline.generate.answer_cache import CachedGenerator
from paceline.generate.step_log import StepLog
from paceline.serve.entrance import Entrance
from paceline.settings import LiveSettings, Settings, iter_knobs
from paceline.settings.live import Changes, State, value_of

log = logging.getLogger("paceline.app")

FOLLOW_S = 5.0
"""A process that has not taken over a change by then is not waited for: it is stopped, or about to be replaced."""


def states(settings: Settings) -> list[SettingState]:
    """Every setting with its value, as `/admin/settings` and `paceline knobs` show them."""
    return [
        SettingState(
            name=knob.name,
            value="***" if knob.hides(value := value_of(settings, knob.name)) else value,
            default=msgspec.to_builtins(knob.default),
            type=knob.type_name(),
            live=knob.live,
            tune=knob.tune,
            quality=knob.quality,
            unit=knob.unit,
            range=knob.range(),
            grid=list(knob.grid),
            cost=knob.cost,
        )
        for knob in iter_knobs()
    ]


def change_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema of each live setting, for the description of the API."""
    return {
        knob.name: {
            **(msgspec.json.schema(knob.hint) if knob.entry is None else {"type": "object"}),
            "description": knob.help,
        }
        for knob in iter_knobs()
        if knob.live
    }


class Parts:
    """The parts of this process whose policies may be replaced while it runs; those it lacks are None."""

    def __init__(  # noqa: PLR0913 - the parts of a process, each given by the composition
        self,
        settings: Settings,
        *,
        lane: LocalLane | None = None,
        service: EmbedService | None = None,
        cache: Tiers | None = None,
        limiter: Limiter | None = None,
        written: OpenGenerator | None = None,
        generator: Generator | None = None,
        vectors: OpenVectors | None = None,
    ) -> None:
        """`settings` are those the parts were made with; `written` is what generates, `generator` what callers see."""
        self._applied = settings
        self._lane = lane
        self._service = service
        self._cache = cache
        self._limiter = limiter
        self._written = written
        self._generator = generator
        self._vectors = vectors
        self.entrance: Entrance | None = None
        """Given when it exists: it is made of other parts."""

    def apply(self, settings: Settings) -> None:
        """Hand every part its policy, if it changed: a limiter, for one, starts its counts afresh."""
        before, self._applied = self._applied, settings
        if self._lane is not None and settings.embed != before.embed:
            self._lane.apply(settings.embed)
        if self._cache is not None and settings.cache != before.cache:
            self._cache.apply(settings.cache)
        if self._service is not None:
            self._service.ttl_s = settings.cache.ttl.of(settings.cache.ttl_class)
            self._service.max_texts = settings.embed.max_texts
        apply = None if self._written is None else self._written.apply
        if apply is not None and settings.generate != before.generate:
            apply(settings.generate)
        if isinstance(self._generator, CachedGenerator):
            self._generator.ttl_s = settings.cache.ttl.result_s
        if self._vectors is not None and self._vectors.apply is not None:
            self._vectors.apply(settings)
        if self._limiter is not None and settings.limits != before.limits:
            self._limiter.configure(settings.limits)
        if self.entrance is not None:
            self.entrance.policy = settings.serve
            self.entrance.compression = settings.compression


class Followers:
    """Other processes that take over the settings of this one, and how far each has come."""

    def __init__(self) -> None:
        self._reached: dict[str, int] = {}
        self._moved = asyncio.Event()

    def move(self) -> None:
        """Wake all who wait here, to look again."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def after(self, name: str, version: int, latest: Callable[[], int]) -> None:
        """Return when `latest` is another version than `version`, which process `name` has taken over."""
        self._reached[name] = version
        self.move()
        try:
            while latest() == version:
                await self._moved.wait()
        except asyncio.CancelledError:  # its connection ended
            self._reached.pop(name, None)
            self.move()
            raise

    async def reach(self, version: int) -> None:
        """Return when every follower has taken over `version`; one that does not within `FOLLOW_S` is dropped."""
        try:
            async with asyncio.timeout(FOLLOW_S):
                while any(reached < version for reached in self._reached.values()):
                    await self._moved.wait()
        except TimeoutError:
            late = [name for name, reached in self._reached.items() if reached < version]
            log.warning("%s did not take over the settings in %g s; they will when they wake", late, FOLLOW_S)
            for name in late:
                del self._reached[name]


class LocalControl:
    """Keeps the settings of the server: see `serve.admin.Control`. Belongs to the running event loop."""

    def __init__(  # noqa: PLR0913 - its parts, each given by the composition
        self,
        settings: Settings,
        apply: Callable[[Settings], None],
        audit: Audit,
        *,
        ring: BatchRing | None = None,
        steps: StepLog | None = None,
        file: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`apply` hands settings to the parts of this process. What is in force is kept in `file` for a successor."""
        self.live = LiveSettings(settings, lambda: secrets.token_urlsafe(12))
        self.followers = Followers()
        self._apply = apply
        self._audit = audit
        self._ring = ring or BatchRing()
        self._steps = steps
        self._file = file
        self._kept = self.live.state()
        self._clock = clock or loop_clock()
        self._timer: asyncio.TimerHandle | None = None
        if file is not None and file.exists():
            self.live.resume(msgspec.msgpack.decode(file.read_bytes(), type=State))
            self._apply(self.live.current)
            self.live.expire(self._clock())
            self._settle()

    def close(self) -> None:
        """Let no timer ring any more; a trial stays as it is."""
        if self._timer is not None:
            self._timer.cancel()

    async def settings(self) -> SettingsState:
        """See `Control.settings`."""
        self._look()
        return SettingsState(self.live.version, self._lease(), states(self.live.current))

    async def change(self, change: SettingsChange, who: str) -> SettingsChanged:
        """See `Control.change`."""
        return await self._do(
            lambda: self.live.change(
                change.changes, self._clock(), who=who, lease_s=change.lease_s, lease=change.lease
            )
        )

    async def renew(self, lease: str, lease_s: float) -> SettingsChanged:
        """See `Control.renew`."""

        def renew() -> Changes:
            self.live.renew(lease, lease_s, self._clock())
            return {}

        return await self._do(renew)

    async def revert(self, lease: str, who: str) -> SettingsChanged:
        """See `Control.revert`."""
        return await self._do(lambda: self.live.revert(lease, self._clock(), who=who))

    async def keep(self, lease: str, who: str) -> SettingsChanged:
        """See `Control.keep`."""
        return await self._do(lambda: self.live.keep(lease, self._clock(), who=who))

    async def batches(self, since: int) -> Batches:
        """See `Control.batches`."""
        number, records = self._ring.since(since)
        return Batches(
            number,
            [
                (one.started_at, one.rows, one.length, one.tokens, one.busy, one.wait_s, one.run_s)
                for one in records
            ],
        )

    async def steps(self, since: int) -> Steps:
        """See `Control.steps`."""
        log = self._steps
        if log is None:
            return Steps(0, None, [])
        number, records = log.since(since)
        time = msgspec.convert(msgspec.structs.asdict(log.time), StepTimes)
        return Steps(number, time, [tuple(record) for record in records.tolist()])

    async def _do(self, act: Callable[[], Changes]) -> SettingsChanged:
        """Act at once and as a whole, then wait for the processes that follow."""
        try:
            changes = act()
        finally:
            self._settle()
        reply = SettingsChanged(
            self.live.version, {name: OldNew(old, new) for name, (old, new) in changes.items()}, self._lease()
        )
        await self.followers.reach(reply.version)
        return reply

    def _look(self) -> None:
        """End a trial whose time is over."""
        self.live.expire(self._clock())
        self._settle()

    def _settle(self) -> None:
        """Put into force what `live` says, remember it, tell of it, and set the timer."""
        live = self.live
        events, live.events = live.events, []
        if any(event.changed for event in events):
            self._apply(live.current)
        self._keep()
        for event in events:
            self._audit.add(event)
        if events:
            self.followers.move()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if live.lease is not None:
            left_s = max(0.0, live.lease.ends_at - self._clock())
            self._timer = asyncio.get_running_loop().call_later(left_s, self._look)

    def _keep(self) -> None:
        """Replace the successor's file in one step."""
        state = self.live.state()
        if self._file is None or state == self._kept:
            return
        self._kept = state
        try:
            draft = self._file.with_suffix(f".{os.getpid()}")
            draft.write_bytes(msgspec.msgpack.encode(state))
            draft.replace(self._file)
        except OSError as error:
            log.error("%s: %s; changed settings would be lost with this process", self._file, error.strerror)  # noqa: TRY400

    def _lease(self) -> LeaseState | None:
        lease = self.live.lease
        if lease is None:
            return None
        return LeaseState(lease.id, round(max(0.0, lease.ends_at - self._clock()), 3), lease.holder)

"""Live settings among the processes of one server: the engine process keeps them, the workers ask and follow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from paceline.app.live import LocalControl
from paceline.app.model import call_when_up
from paceline.base.admin_api import Batches, SettingsChange, SettingsChanged, SettingsState, Steps
from paceline.base.errors import EngineError
from paceline.flow.channel import Channel
from paceline.settings import Settings
from paceline.settings.live import ORIGIN, live_values
from paceline.settings.sources import changed

CONTROL: Final = "settings."
"""What the names of these calls begin with."""

FOLLOW: Final = f"{CONTROL}follow"
RETRY_S: Final = 0.2


class ControlHost:
    """The answering end, in the process that keeps the settings."""

    def __init__(self, control: LocalControl) -> None:
        self._control = control

    async def answer(self, operation: str, payload: Any) -> Any:
        """One call of a `RemoteControl` or a follower; raises what the control raises."""
        control = self._control
        reply: msgspec.Struct
        match operation.removeprefix(CONTROL):
            case "follow":  # answered when there is something new
                name, version = payload
                live = control.live
                await control.followers.after(name, version, lambda: live.version)
                return [live.version, live_values(live.current)]
            case "settings":
                reply = await control.settings()
            case "change":
                change, who = payload
                reply = await control.change(msgspec.convert(change, SettingsChange), who)
            case "renew":
                reply = await control.renew(*payload)
            case "revert":
                reply = await control.revert(*payload)
            case "keep":
                reply = await control.keep(*payload)
            case "batches":
                reply = await control.batches(*payload)
            case "steps":
                reply = await control.steps(*payload)
            case _:
                raise EngineError(
                    f"the engine process does not know the call {operation!r}; are all processes of one version?"
                )
        return msgspec.to_builtins(reply)


class RemoteControl:
    """The calling end, in a worker: see `serve.admin.Control`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def settings(self) -> SettingsState:
        """See `Control.settings`."""
        return msgspec.convert(await self._call("settings"), SettingsState)

    async def change(self, change: SettingsChange, who: str) -> SettingsChanged:
        """See `Control.change`."""
        return msgspec.convert(await self._call("change", msgspec.to_builtins(change), who), SettingsChanged)

    async def renew(self, lease: str, lease_s: float) -> SettingsChanged:
        """See `Control.renew`."""
        return msgspec.convert(await self._call("renew", lease, lease_s), SettingsChanged)

    async def revert(self, lease: str, who: str) -> SettingsChanged:
        """See `Control.revert`."""
        return msgspec.convert(await self._call("revert", lease, who), SettingsChanged)

    async def keep(self, lease: str, who: str) -> SettingsChanged:
        """See `Control.keep`."""
        return msgspec.convert(await self._call("keep", lease, who), SettingsChanged)

    async def batches(self, since: int) -> Batches:
        """See `Control.batches`."""
        return msgspec.convert(await self._call("batches", since), Batches)

    async def steps(self, since: int) -> Steps:
        """See `Control.steps`."""
        return msgspec.convert(await self._call("steps", since), Steps)

    async def _call(self, operation: str, *payload: Any) -> Any:
        return await self._channel.call(CONTROL + operation, payload)


@asynccontextmanager
async def following(
    settings: Settings, channel: Channel, apply: Callable[[Settings], None]
) -> AsyncIterator[None]:
    """Take over the settings in force before the block, and every change of them while it runs.

    `settings` are those that all processes started with. While the engine process is away the last ones stay.
    """
    name = f"worker {os.getpid()}"

    async def follow(version: int) -> None:
        while True:
            try:
                # Asking for what comes after a version says that this one is in force here.
                version, values = await channel.call(FOLLOW, [name, version])
            except EngineError:
                await asyncio.sleep(RETRY_S)  # it is being restarted
            else:
                apply(changed(settings, values, ORIGIN))

    version, values = await call_when_up(channel, FOLLOW, [name, -1])
    apply(changed(settings, values, ORIGIN))
    task = asyncio.ensure_future(follow(version))
    try:
        yield
    finally:
        task.cancel()

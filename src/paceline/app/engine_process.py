"""The process that owns the engines when HTTP is spoken by several workers: one queue, one gate, one set of weights.

It also keeps the host's quota ledger, so that a limit is one limit however many workers there are.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from paceline.app.audit import Audit
from paceline.app.live import LocalControl, Parts
from paceline.app.live_remote import CONTROL, ControlHost
from paceline.app.model import each, open_model
from paceline.app.snapshots import Snapshots
from paceline.base.errors import EngineError, PacelineError
from paceline.base.instruments import Registry
from paceline.embed.remote_lane import LaneHost
from paceline.flow.batch_ring import BatchRing
from paceline.flow.channel import Channel, ChannelServer
from paceline.flow.quota import Grant, LocalLedger
from paceline.serve.metrics import BatchMetrics, Metrics
from paceline.settings import Settings

SOCKET = "engine.sock"
LEDGER_S = 1.0
"""A ledger that is slower counts as away; the limiter then grants each worker its share."""


def run_engine_process(settings: Settings, runtime: Path) -> None:
    """Entry point of the process; ends on SIGTERM. `runtime` is the folder the processes of one server share."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    try:
        asyncio.run(_serve(settings, runtime))
    except PacelineError as error:
        print(f"paceline: error: {error.message}", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(2)


async def _serve(settings: Settings, runtime: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    registry = Registry()
    ledger = LocalLedger(settings.limits.lease_share, time.time)
    async with AsyncExitStack() as stack:
        model, lane, host = None, None, None
        ring = BatchRing()
        if settings.embed.model:
            model, lane = await stack.enter_async_context(open_model(settings))
            lane.on_batch = each(BatchMetrics(registry).ran, ring.add)
            Metrics(registry).add_areas(lane.stats, model=model.card.id)
            host = LaneHost(lane)
        control_host: ControlHost | None = None
        if settings.admin.token:
            control = LocalControl(
                settings,
                Parts(settings, lane=lane).apply,
                Audit(settings.admin.audit_log),
                ring=ring,
                file=runtime / "settings.live",
            )
            stack.callback(control.close)
            control_host = ControlHost(control)

        async def answer(operation: str, payload: Any) -> Any:
            match operation:
                case "model" if model is not None:
                    return msgspec.to_builtins(model.card), model.fingerprint
                case "lease":
                    return await ledger.lease(*payload)
                case "give_back":
                    return await ledger.give_back(*payload)
                case _ if control_host is not None and operation.startswith(CONTROL):
                    return await control_host.answer(operation, payload)
                case _ if host is not None:
                    return await host.answer(operation, payload)
            raise EngineError(
                f"no model is served here, so {operation!r} cannot be answered; set embed.model"
            )

        server = ChannelServer(runtime / SOCKET, answer)
        await server.start()
        stack.push_async_callback(server.close)
        writing = asyncio.ensure_future(Snapshots(runtime, "engine", registry.snapshot).keep_writing())
        stack.callback(writing.cancel)
        await stop.wait()
        if lane is not None:
            await lane.drain()


class ChannelLedger:
    """The engine process's ledger, for the limiter of one worker."""

    def __init__(self, channel: Channel, peers: int) -> None:
        self.peers = peers
        self._channel = channel

    async def lease(self, window_key: str, limit: int, want: int, window_s: int) -> Grant:
        """See `Ledger.lease`."""
        async with asyncio.timeout(LEDGER_S):
            return Grant(*await self._channel.call("lease", [window_key, limit, want, window_s]))

    async def give_back(self, window_key: str, window: int, count: int, window_s: int) -> None:
        """See `Ledger.give_back`."""
        async with asyncio.timeout(LEDGER_S):
            await self._channel.call("give_back", [window_key, window, count, window_s])

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
from paceline.app.engine_link import SOCKET
from paceline.app.live import LocalControl, Parts
from paceline.app.live_remote import CONTROL, ControlHost
from paceline.app.parts import open_cache, open_link
from paceline.app.services import Services, open_services
from paceline.app.snapshots import Snapshots
from paceline.base.errors import EngineError, PacelineError
from paceline.base.instruments import Registry
from paceline.embed.remote_lane import LaneHost
from paceline.flow.cache.tiers import Tiers
from paceline.flow.channel import ChannelServer
from paceline.flow.quota import LocalLedger
from paceline.generate.remote import PREFIX, GenerateHost
from paceline.serve.metrics import Metrics
from paceline.settings import Settings
from paceline.vectors.remote import PREFIX as VECTORS
from paceline.vectors.remote import VectorsHost


def run_engine_process(settings: Settings, runtime: Path) -> None:
    """Entry point of the process; ends on SIGTERM. `runtime` is the folder the processes of one server share."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    try:
        asyncio.run(_serve(settings, runtime))
    except PacelineError as error:
        print(f"paceline: error: {error.message}", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(2)


class Switchboard:
    """Hands a worker's call to the part that answers it."""

    def __init__(self, services: Services, ledger: LocalLedger, control: ControlHost | None) -> None:
        self._services = services
        self._ledger = ledger
        self._control = control
        self._lane = None if services.lane is None else LaneHost(services.lane)
        written = services.written
        self._writer = None if written is None else GenerateHost(written.generator)
        vectors = services.vectors
        self._vectors = None if vectors is None else VectorsHost(vectors.service)

    async def answer(self, operation: str, payload: Any) -> Any:
        """The result of one call; raises what the part raises."""
        if self._control is not None and operation.startswith(CONTROL):
            return await self._control.answer(operation, payload)
        if operation.startswith(PREFIX):
            return await self._generate(operation, payload)
        if operation.startswith(VECTORS):
            return await self._answer_vectors(operation, payload)
        match operation:
            case "lease":
                return await self._ledger.lease(*payload)
            case "give_back":
                return await self._ledger.give_back(*payload)
        model = self._services.model
        if self._lane is None or model is None:
            raise EngineError(f"no model embeds here, so {operation!r} cannot be answered; set embed.model")
        if operation == "model":
            return msgspec.to_builtins(model.card), model.fingerprint
        return await self._lane.answer(operation, payload)

    async def _answer_vectors(self, operation: str, payload: Any) -> Any:
        if self._vectors is None:
            raise EngineError(
                f"no collections are here, so {operation!r} cannot be answered; set vectors.folder"
            )
        return await self._vectors.answer(operation, payload)

    async def _generate(self, operation: str, payload: Any) -> Any:
        written = self._services.written
        if self._writer is None or written is None:
            raise EngineError(
                f"no model generates here, so {operation!r} cannot be answered; set generate.model"
            )
        if operation == f"{PREFIX}card":
            return msgspec.to_builtins(written.generator.card()), written.fingerprint
        return await self._writer.answer(operation, payload)


async def _open_cache(stack: AsyncExitStack, settings: Settings) -> Tiers | None:
    """Tiers for the answers of collections, which are found by a version that only this process knows."""
    if not settings.vectors.on:
        return None
    link = open_link(settings)
    if link is not None:
        stack.push_async_callback(link.close)
    return await stack.enter_async_context(open_cache(settings, link))


async def _serve(settings: Settings, runtime: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    registry = Registry()
    ledger = LocalLedger(settings.limits.lease_share, time.time)
    async with AsyncExitStack() as stack:
        cache = await _open_cache(stack, settings)
        services = await open_services(stack, settings, registry, None, cache)
        lane, model, written = services.lane, services.model, services.written
        if lane is not None and model is not None:
            Metrics(registry).add_areas(lane.stats, model=model.card.id)
        if written is not None:
            Metrics(registry).add_areas(written.generator.stats, model=written.generator.name)
        if services.vectors is not None:
            Metrics(registry).add_areas(services.vectors.service.stats)
        control_host: ControlHost | None = None
        if settings.admin.token:
            parts = Parts(settings, lane=lane, cache=cache, written=written, vectors=services.vectors)
            control = LocalControl(
                settings,
                parts.apply,
                Audit(settings.admin.audit_log),
                ring=services.ring,
                steps=services.steps,
                file=runtime / "settings.live",
            )
            stack.callback(control.close)
            control_host = ControlHost(control)
        server = ChannelServer(runtime / SOCKET, Switchboard(services, ledger, control_host).answer)
        await server.start()
        stack.push_async_callback(server.close)
        writing = asyncio.ensure_future(Snapshots(runtime, "engine", registry.snapshot).keep_writing())
        stack.callback(writing.cancel)
        await stop.wait()
        if lane is not None:
            await lane.drain()
        if written is not None:
            await written.generator.drain()

"""The models and collections of one process: with their engines here, or reached in the engine process."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from paceline.app.engine_link import SOCKET, ChannelLedger
from paceline.app.generator import OpenGenerator, open_generator, open_remote_generator
from paceline.app.model import Model, each, open_model, open_remote_model
from paceline.app.vectors import OpenVectors, open_remote_vectors, open_vectors
from paceline.base.instruments import Registry
from paceline.embed.lane import LocalLane
from paceline.flow.batch_ring import BatchRing
from paceline.flow.cache.tiers import Tiers
from paceline.flow.channel import Channel
from paceline.flow.quota import Ledger
from paceline.generate.step_log import StepLog
from paceline.serve.metrics import BatchMetrics
from paceline.settings import Settings


class Services(msgspec.Struct):
    """What a process serves, and how it reaches the engines when they are not its own."""

    ring: BatchRing
    """Batches that ran here."""
    model: Model | None = None
    """Embeds."""
    lane: LocalLane | None = None
    """The embedding engine, when it is in this process."""
    written: OpenGenerator | None = None
    """Generates."""
    vectors: OpenVectors | None = None
    """Collections of vectors."""
    channel: Channel | None = None
    """To the engine process; None when the engines are here."""
    ledger: Ledger | None = None
    """The host's count of quotas, when several processes share it."""

    @property
    def steps(self) -> StepLog | None:
        """What the generating engine did, when it is in this process."""
        service = None if self.written is None else self.written.service
        return None if service is None else service.steps


async def open_services(
    stack: AsyncExitStack,
    settings: Settings,
    registry: Registry,
    runtime: Path | None,
    cache: Tiers | None,
) -> Services:
    """Open what the settings name; `runtime` is given to workers, whose engines are behind its socket.

    `cache` keeps what collections answer, where they are in this process.
    """
    services = Services(BatchRing())
    if runtime is None:
        if settings.embed.model:
            services.model, lane = await stack.enter_async_context(open_model(settings))
            lane.on_batch = each(BatchMetrics(registry).ran, services.ring.add)
            services.lane = lane
        if settings.generate.on:
            services.written = await stack.enter_async_context(open_generator(settings))
        if settings.vectors.on:
            services.vectors = await stack.enter_async_context(open_vectors(settings, cache))
        return services
    channel = services.channel = Channel(runtime / SOCKET)
    if settings.embed.model:
        services.model = await stack.enter_async_context(open_remote_model(settings, channel))
    if settings.generate.on:
        services.written = await stack.enter_async_context(open_remote_generator(channel))
    if settings.vectors.on:
        services.vectors = await stack.enter_async_context(open_remote_vectors(channel))
    services.ledger = ChannelLedger(channel, settings.serve.workers)
    return services

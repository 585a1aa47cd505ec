"""The embedding model of a process: opened here with its engine, or reached in the engine process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from paceline.app.parts import open_cache, open_link, state_dir
from paceline.base.api import ModelCard
from paceline.base.errors import EngineError
from paceline.embed.compute import Compute
from paceline.embed.engine import open_engine
from paceline.embed.folder import ModelFolder, open_folder
from paceline.embed.lane import Lane, LocalLane
from paceline.embed.layout import resolved
from paceline.embed.remote_lane import RemoteLane
from paceline.embed.service import EmbedService
from paceline.embed.tokens import Tokens
from paceline.flow.batch_queue import BatchQueue
from paceline.flow.batcher import BatchRecord
from paceline.flow.breaker import Breaker
from paceline.flow.cache.tiers import Tiers
from paceline.flow.channel import Channel
from paceline.flow.gate import Gate
from paceline.flow.run_time import RunTime
from paceline.settings import Settings

ENGINE_START_S = 600.0
"""A worker waits this long for the engine process, which may have a large model to load or to quantise."""


class Model(msgspec.Struct, frozen=True):
    """What an `EmbedService` needs of a model, wherever its engine runs."""

    card: ModelCard
    fingerprint: bytes
    """Names everything that changes a vector, for cache keys."""
    tokens: Tokens
    lane: Lane


def find_folder(settings: Settings) -> ModelFolder:
    """The model folder, checked but not loaded; raises ConfigError naming what is wrong with it."""
    policy = settings.embed
    return open_folder(policy.model, pooling=policy.pooling, max_tokens=policy.max_tokens)


@asynccontextmanager
async def open_model(settings: Settings) -> AsyncIterator[tuple[Model, LocalLane]]:
    """The model with its engine in this process, laid out for this machine and warmed up."""
    policy = settings.embed
    folder = await asyncio.to_thread(find_folder, settings)
    state = state_dir(settings)
    engine = await asyncio.to_thread(open_engine, policy, folder, state_dir=state)
    queue = BatchQueue(resolved(policy.batch, engine.layout), RunTime(), engine.lanes)
    lane = LocalLane(engine, Gate(policy.gate, queue), Breaker(policy.breaker), queue)
    card = ModelCard(
        id=policy.name or folder.name,
        created=int(folder.path.stat().st_mtime),
        dimensions=folder.dimensions,
        max_tokens=folder.max_tokens,
        precision=engine.precision,
        engine=engine.name,
    )
    quality = engine.describe().get("cosine_mean")  # of int8: another calibration makes other vectors
    names = [
        folder.digest,
        engine.name,
        engine.precision,
        str(folder.max_tokens),
        settings.cache.normalize,
        repr(quality),
    ]
    fingerprint = "|".join(names)
    try:
        yield Model(card, fingerprint.encode(), Tokens(folder), lane), lane
    finally:
        await lane.close()


@asynccontextmanager
async def open_remote_model(settings: Settings, channel: Channel) -> AsyncIterator[Model]:
    """The model of the engine process behind `channel`; waits until that has loaded it."""
    folder = await asyncio.to_thread(find_folder, settings)
    card, fingerprint = await call_when_up(channel, "model", None)
    lane = RemoteLane(channel)
    watching = asyncio.ensure_future(lane.watch())
    try:
        yield Model(msgspec.convert(card, ModelCard), fingerprint, Tokens(folder), lane)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await lane.close()


async def call_when_up(channel: Channel, operation: str, payload: Any) -> Any:
    """A call of the engine process as soon as that has started. Raises EngineError after `ENGINE_START_S`."""
    give_up_at = asyncio.get_running_loop().time() + ENGINE_START_S
    while True:
        try:
            return await channel.call(operation, payload)
        except EngineError:
            if asyncio.get_running_loop().time() > give_up_at:
                raise
            await asyncio.sleep(0.05)  # the engine process is still loading


def each(*told: Callable[[BatchRecord], None]) -> Callable[[BatchRecord], None]:
    """Tell several of each batch."""

    def tell(record: BatchRecord) -> None:
        for one in told:
            one(record)

    return tell


def service_of(settings: Settings, model: Model, cache: Tiers | None) -> EmbedService:
    """The service that joins model and cache."""
    return EmbedService(
        card=model.card,
        fingerprint=model.fingerprint,
        compute=Compute(model.tokens, model.lane),
        cache=cache,
        ttl_s=settings.cache.ttl.of(settings.cache.ttl_class),
        normalize=settings.cache.normalize,
        max_texts=settings.embed.max_texts,
    )


@asynccontextmanager
async def open_embedder(settings: Settings) -> AsyncIterator[EmbedService]:
    """The embedding service without HTTP, for use inside a program."""
    link = open_link(settings)
    try:
        async with open_model(settings) as (model, _), open_cache(settings, link) as cache:
            yield service_of(settings, model, cache)
    finally:
        if link is not None:
            await link.close()

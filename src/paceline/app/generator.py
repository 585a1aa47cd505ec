"""The generator of a process: a model opened here with its engine, an adapter, or the engine process's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from paceline.app.model import call_when_up
from paceline.app.parts import state_dir
from paceline.base.api import ModelCard
from paceline.base.generation import Generator
from paceline.flow.breaker import Breaker
from paceline.flow.cache.tiers import Tiers
from paceline.flow.channel import Channel
from paceline.generate.admission import Admission
from paceline.generate.answer_cache import CachedGenerator
from paceline.generate.chat_template import ChatTemplate
from paceline.generate.config import read_config
from paceline.generate.demo_folder import demo_folder
from paceline.generate.engine import Engine
from paceline.generate.guide import GuideFactory
from paceline.generate.open_runner import open_runner
from paceline.generate.policy import GeneratePolicy
from paceline.generate.remote import PREFIX, RemoteGenerator
from paceline.generate.sampler import Sampler
from paceline.generate.sequence import Delta, Sequence
from paceline.generate.service import GenerateService
from paceline.generate.tokenizer import TextTokenizer
from paceline.settings import Settings

OURS = ("auto", "torch", "compiled")
"""Engines of our own; the others are adapters."""


class OpenGenerator(msgspec.Struct, frozen=True):
    """A generator with what the composition needs to know of it."""

    generator: Generator
    fingerprint: bytes
    """Names everything that changes an answer, for cache keys."""
    service: GenerateService | None = None
    """Ours, when the engine is."""
    apply: Callable[[GeneratePolicy], None] | None = None
    """Takes over what may change while running; None in a worker, whose engine process does."""


def find_generate_folder(policy: GeneratePolicy) -> Path:
    """The folder of a model for our engine, its configuration checked but nothing loaded; raises ConfigError."""
    folder = demo_folder() if policy.model == "demo" else Path(policy.model).expanduser()
    read_config(folder)
    return folder


@asynccontextmanager
async def open_generator(settings: Settings) -> AsyncIterator[OpenGenerator]:
    """The generator with its engine in this process."""
    policy = settings.generate
    if policy.engine in OURS:
        async with _open_ours(settings) as found:
            yield found
        return
    from paceline.generate.adapters.open_adapter import open_adapter  # noqa: PLC0415 - its libraries are optional

    generator = await open_adapter(policy)
    card = generator.card()
    try:
        names = [policy.engine, card.id, policy.model, card.precision, policy.upstream.url]
        yield OpenGenerator(generator, "|".join(names).encode(), apply=generator.apply)
    finally:
        await generator.close()


@asynccontextmanager
async def _open_ours(settings: Settings) -> AsyncIterator[OpenGenerator]:
    policy = settings.generate
    folder = await asyncio.to_thread(find_generate_folder, policy)
    runner = await asyncio.to_thread(open_runner, policy, folder, state_dir=state_dir(settings))
    tokenizer = await asyncio.to_thread(TextTokenizer.open, folder, runner.config)
    loop = asyncio.get_running_loop()
    services: list[GenerateService] = []

    def deliver(out: list[tuple[Sequence, Delta]]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(services[0].receive, out)

    engine = Engine(
        runner,
        Sampler(runner.config.vocab_size),
        policy.schedule,
        deliver,
        reuse_prefixes=policy.kv.prefix_cache,
    )
    description = runner.describe()
    card = ModelCard(
        id=policy.name or ("paceline-demo" if policy.model == "demo" else folder.resolve().name),
        created=int(folder.stat().st_mtime),
        task="generate",
        max_tokens=engine.context_tokens,
        precision=runner.precision,
        engine=str(description["name"]),
    )
    service = GenerateService(
        card=card,
        engine=engine,
        tokenizer=tokenizer,
        template=ChatTemplate.open(folder, tokenizer.special.names),
        guides=GuideFactory(tokenizer.json, runner.config.vocab_size, tokenizer.special.eos),
        admission=Admission(policy.admission, engine),
        breaker=Breaker(policy.breaker),
    )
    services.append(service)
    engine.start()
    names = [
        str(description.get("digest", folder)),
        runner.precision,
        runner.kv_precision,
        card.engine,
        str(engine.context_tokens),
        str(policy.kv.window_tokens),
        settings.cache.normalize,
    ]
    try:
        yield OpenGenerator(service, "|".join(names).encode(), service, service.apply)
    finally:
        await service.close()


@asynccontextmanager
async def open_remote_generator(channel: Channel) -> AsyncIterator[OpenGenerator]:
    """The generator of the engine process behind `channel`; waits until that has loaded it."""
    card, fingerprint = await call_when_up(channel, f"{PREFIX}card", None)
    generator = RemoteGenerator(channel, msgspec.convert(card, ModelCard))
    watching = asyncio.ensure_future(generator.watch())
    try:
        yield OpenGenerator(generator, fingerprint)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def with_cache(settings: Settings, found: OpenGenerator, cache: Tiers | None) -> Generator:
    """The generator with exact answers kept in front of it."""
    if cache is None:
        return found.generator
    return CachedGenerator(
        found.generator,
        cache,
        fingerprint=found.fingerprint,
        ttl_s=settings.cache.ttl.result_s,
        normalize=settings.cache.normalize,
    )

"""The collections of a process: a store opened here, another store's adapter, or the engine process's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from paceline.app.model import call_when_up
from paceline.base.errors import ConfigError, StorageError
from paceline.base.vectors_api import VectorService
from paceline.flow.cache.tiers import Tiers
from paceline.flow.channel import Channel
from paceline.settings import Settings
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.remote import PREFIX, RemoteVectors

_NEEDED: Final = ("numba",)
"""What the extra brings."""


class OpenVectors(msgspec.Struct, frozen=True):
    """Collections with what the composition needs to know of them."""

    service: VectorService
    apply: Callable[[Settings], None] | None = None
    """Takes over what may change while running; None in a worker, whose engine process does, and of other stores."""


def check_vectors(policy: VectorsPolicy) -> None:
    """ConfigError when collections cannot be served for want of a library."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if policy.backend == "paceline" and missing:
        raise ConfigError(
            f"vectors.folder = {policy.folder!r}: {' and '.join(missing)} not installed; pip install 'paceline[vectors]'",
            param="vectors.folder",
        )


@asynccontextmanager
async def open_vectors(settings: Settings, cache: Tiers | None) -> AsyncIterator[OpenVectors]:
    """The collections with their store in this process, ready to be searched. ConfigError when it cannot be opened."""
    policy = settings.vectors
    if policy.backend != "paceline":
        from paceline.vectors.adapters import open_adapter  # noqa: PLC0415 - only a server with another store needs it

        async with open_adapter(policy) as adapter:
            yield OpenVectors(adapter)
        return
    from paceline.vectors.service import LocalVectors  # noqa: PLC0415 - its libraries are optional
    from paceline.vectors.store import VectorStore  # noqa: PLC0415 - as above

    try:
        store = await asyncio.to_thread(VectorStore, folder_of(policy), policy)
    except StorageError as error:
        raise _refused(policy, error) from None
    service = LocalVectors(store, policy, cache=cache, ttl_s=settings.cache.ttl.result_s)

    def apply(settings: Settings) -> None:
        service.apply(settings.vectors)
        service.ttl_s = settings.cache.ttl.result_s

    try:
        try:
            await service.start()
        except StorageError as error:
            raise _refused(policy, error) from None
        yield OpenVectors(service, apply)
    finally:
        await service.close()


def folder_of(policy: VectorsPolicy) -> Path:
    """Where the collections are."""
    return Path(policy.folder).expanduser()


def _refused(policy: VectorsPolicy, error: StorageError) -> ConfigError:
    return ConfigError(f"vectors.folder = {policy.folder!r}: {error.message}", param="vectors.folder")


@asynccontextmanager
async def open_remote_vectors(channel: Channel) -> AsyncIterator[OpenVectors]:
    """The collections of the engine process behind `channel`; waits until that has opened them."""
    await call_when_up(channel, f"{PREFIX}health", None)
    service = RemoteVectors(channel)
    watching = asyncio.ensure_future(service.watch())
    try:
        yield OpenVectors(service)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

"""Where the collections of `paceline vectors` are: on a server, or in a folder that this process opens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from paceline.base.clock import monotonic
from paceline.base.errors import ConfigError, InvalidRequest, NotFound
from paceline.base.vectors_api import VectorService
from paceline.base.vectors_collections import (
    Compact,
    ComparePrecisions,
    CreateCollection,
    DropCollection,
    Reencode,
    Reshard,
    Restore,
    Snapshot,
    Tune,
    Verify,
)
from paceline.base.vectors_records import Search, Upsert
from paceline.cli.options import NO_OPTIONS, Options

if TYPE_CHECKING:
    from paceline.serve.vectors_texts import Texts
    from paceline.settings import Settings

Ask = Callable[[Any], Awaitable[Any]]
"""Takes a struct of `vectors_api` and gives its answer."""

DEFAULT_URL: Final = "http://127.0.0.1:8080"
LASTING_S: Final = 86_000.0
"""Patience with what reads or writes a whole collection: nobody waits but the user, who has Ctrl-C."""
_LASTING: Final = (
    Compact,
    ComparePrecisions,
    CreateCollection,
    DropCollection,
    Reencode,
    Reshard,
    Restore,
    Snapshot,
    Tune,
    Verify,
)


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Where the collections are. Give a command `place: Place = NO_PLACE`."""

    url: Annotated[
        str | None,
        Parameter(help=f"The server (http://, https:// or unix://); by default {DEFAULT_URL}."),
    ] = None
    token: Annotated[str | None, Parameter(help="The server's token; by default the setting auth.token.")] = (
        None
    )
    folder: Annotated[
        Path | None, Parameter(help="Open the collections of this folder here, without a server.")
    ] = None
    options: Options = NO_OPTIONS

    def __str__(self) -> str:
        return str(self.folder.resolve()) if self.folder else (self.url or DEFAULT_URL)

    @asynccontextmanager
    async def opened(self, *, may_make: bool = False, attempts: int = 3) -> AsyncIterator[Ask]:
        """While the block runs, what it asks is answered. ConfigError for all that is wrong with what was asked.

        `may_make`: the folder need not exist. `attempts`: tries of a call to a server.
        """
        if self.folder and (self.url or self.token):
            raise ConfigError("give --folder, or --url and --token, not both")
        if self.folder and not (may_make or self.folder.is_dir()):
            raise ConfigError(f"--folder {self.folder}: no such folder; `paceline vectors create` makes one")
        settings = self.options.load().settings
        async with AsyncExitStack() as stack:
            if self.folder:
                service: VectorService = await _in_folder(stack, self.folder, settings)
            else:
                service = await self._served(stack, settings, attempts)

            async def ask(asked: Any) -> Any:
                patience_s = (
                    LASTING_S if self.folder or isinstance(asked, _LASTING) else settings.serve.timeout_s
                )
                with _as_usage():
                    return await service.answer(asked, deadline_at=monotonic() + patience_s)

            yield ask

    async def _served(self, stack: AsyncExitStack, settings: Settings, attempts: int) -> VectorService:
        from paceline.client import AsyncClient, HttpVectors, Retries  # noqa: PLC0415 - not needed by a folder

        client = AsyncClient(
            self.url or DEFAULT_URL,
            token=self.token or settings.auth.token or None,
            retry=Retries(attempts=attempts),
        )
        return await stack.enter_async_context(HttpVectors(client))


Place = Annotated[PlaceOptions, Parameter(name="*")]
NO_PLACE = PlaceOptions()


@contextmanager
def _as_usage() -> Iterator[None]:
    """What is wrong with a request was wrong in the command."""
    try:
        yield
    except (InvalidRequest, NotFound) as error:
        raise ConfigError(error.message, param=error.param) from error


async def _in_folder(stack: AsyncExitStack, folder: Path, settings: Settings) -> VectorService:
    from paceline.vectors.service import LocalVectors  # noqa: PLC0415 - numpy and more, which a server has
    from paceline.vectors.store import VectorStore  # noqa: PLC0415

    local = LocalVectors(VectorStore(folder, settings.vectors), settings.vectors)
    stack.push_async_callback(local.close)
    return _WithTexts(local, settings, stack)


class _WithTexts:
    """A `VectorService` that embeds texts with the model of the settings, opened when the first one comes."""

    def __init__(self, service: VectorService, settings: Settings, stack: AsyncExitStack) -> None:
        self._service = service
        self._settings = settings
        self._stack = stack
        self._texts: Texts | None = None
        self.hit, self.stats, self.health = service.hit, service.stats, service.health

    async def answer(self, asked: Any, *, deadline_at: float) -> Any:
        """As a server with this model answers."""
        if isinstance(asked, Search):
            texts = await self._opened(needs_model=asked.mode != "words")
            asked = await texts.query(asked, deadline_at=deadline_at)
        elif isinstance(asked, Upsert) and any(item.values is None and item.text for item in asked.vectors):
            asked = await (await self._opened()).upsert(asked, deadline_at=deadline_at)
        elif isinstance(asked, CreateCollection) and not asked.dimension:
            asked = (await self._opened()).collection(asked)
        return await self._service.answer(asked, deadline_at=deadline_at)

    async def _opened(self, *, needs_model: bool = True) -> Texts:
        from paceline.base.instruments import Registry  # noqa: PLC0415
        from paceline.serve.metrics import Metrics  # noqa: PLC0415 - parts of a server
        from paceline.serve.vectors_texts import Texts  # noqa: PLC0415

        metrics = Metrics(Registry())
        if not needs_model:
            return Texts({}, metrics)
        if self._texts is None:
            from paceline.app import open_embedder  # noqa: PLC0415 - the engine's libraries

            model = await self._stack.enter_async_context(open_embedder(self._settings))
            self._texts = Texts({model.name: model}, metrics)
        return self._texts

"""The asynchronous client: `Client` with `await`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from paceline.base.api import ModelCard, Priority
from paceline.base.errors import PacelineError
from paceline.base.vectors_collections import (
    CollectionCard,
    Collections,
    ListCollections,
    ListSnapshots,
    Snapshots,
)
from paceline.client.async_collection import AsyncCollection
from paceline.client.generation import (
    CHAT,
    COMPLETIONS,
    ChatFields,
    Generated,
    GenerateFields,
    Messages,
    Piece,
    Stream,
    chat_body,
    chat_call,
    completion_body,
    completion_call,
)
from paceline.client.messages import (
    POOL,
    Address,
    Call,
    Embeddings,
    Tokens,
    deadline_header,
    default_headers,
    embed_call,
    health_call,
    metrics_call,
    models_call,
    refuse_failure,
    unreachable,
)
from paceline.client.retries import DEFAULT, Patience, Retries
from paceline.client.vector_messages import CreateFields, create_of, vectors_call

T = TypeVar("T")


class AsyncClient:
    """Talks to one server from one event loop. Close it, or use it in `async with`.

    Arguments as for `Client`; here `timeout_s` bounds the whole call strictly. Cancelling a call closes its
    connection, and the server drops the work.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8080",
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
        retry: Retries = DEFAULT,
        verify: bool | ssl.SSLContext = True,
    ) -> None:
        self._address = Address.parse(base_url)
        self._timeout_s = timeout_s
        self._retry = retry
        self._http = httpx.AsyncClient(
            base_url=self._address.url,
            headers=default_headers(token),
            transport=httpx.AsyncHTTPTransport(uds=self._address.uds, limits=POOL)
            if self._address.uds
            else None,
            limits=POOL,
            verify=verify,
        )

    @property
    def url(self) -> str:
        """Where the server is, as it was given."""
        return str(self._address)

    async def embed(  # noqa: PLR0913 - the fields of the request
        self,
        texts: str | Sequence[str] | None = None,
        *,
        tokens: Tokens | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        truncate: bool = True,
        priority: Priority = "normal",
        timeout_s: float | None = None,
    ) -> Embeddings:
        """Embed texts, or lists of token ids. One text gives one row. Raises any PacelineError."""
        call = embed_call(
            texts, tokens, model=model, dimensions=dimensions, truncate=truncate, priority=priority
        )
        return await self._send(call, timeout_s)

    async def generate(
        self,
        prompt: str | Sequence[int],
        *,
        timeout_s: float | None = None,
        **fields: Unpack[GenerateFields],
    ) -> Generated:
        """Go on with a prompt: a text, or token ids. Raises any PacelineError."""
        return await self._send(completion_call(completion_body(prompt, fields)), timeout_s)

    async def chat(
        self, messages: Messages, *, timeout_s: float | None = None, **fields: Unpack[ChatFields]
    ) -> Generated:
        """The next turn of a conversation: OpenAI's messages, or a text of the user's. Raises any PacelineError."""
        return await self._send(chat_call(chat_body(messages, fields)), timeout_s)

    def generate_stream(
        self,
        prompt: str | Sequence[int],
        *,
        timeout_s: float | None = None,
        **fields: Unpack[GenerateFields],
    ) -> AsyncGenerator[Piece, None]:
        """The same piece by piece, as it comes. Leaving the loop and `aclose()` ends it on the server too."""
        return self._stream(Stream(COMPLETIONS, completion_body(prompt, fields)), timeout_s)

    def chat_stream(
        self, messages: Messages, *, timeout_s: float | None = None, **fields: Unpack[ChatFields]
    ) -> AsyncGenerator[Piece, None]:
        """`chat` piece by piece."""
        return self._stream(Stream(CHAT, chat_body(messages, fields)), timeout_s)

    def collection(self, name: str = "") -> AsyncCollection:
        """A collection of vectors, to write and search; empty: the only one there is. Asks nothing yet."""
        return AsyncCollection(self, name)

    async def collections(self) -> list[CollectionCard]:
        """All collections, by name."""
        found: Collections = await self.ask(ListCollections())
        return found.collections

    async def create_collection(
        self, name: str, *, timeout_s: float | None = None, **fields: Unpack[CreateFields]
    ) -> AsyncCollection:
        """Make a collection; without `dimension` for the vectors of the embedding model. Raises any PacelineError."""
        await self.ask(create_of(name, fields), timeout_s=timeout_s)
        return self.collection(name)

    async def snapshots(self) -> dict[str, list[str]]:
        """Names of the snapshots that are kept, by collection."""
        found: Snapshots = await self.ask(ListSnapshots())
        return found.snapshots

    async def ask(self, asked: Any, *, timeout_s: float | None = None) -> Any:
        """Ask one struct of `paceline.base.vectors_api`; the answer is of the type that its `ANSWER` says."""
        return await self._send(vectors_call(asked), timeout_s)

    async def models(self) -> list[ModelCard]:
        """The models that are served."""
        return await self._send(models_call())

    async def health(self) -> dict[str, Any]:
        """State of engines, breakers and cache tiers; also when the server says it is not well."""
        return await self._send(health_call())

    async def metrics(self) -> str:
        """Metrics in Prometheus' text format."""
        return await self._send(metrics_call())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, call: Call[T], timeout_s: float | None = None) -> T:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        patience = Patience(self._retry, timeout_s)
        while True:
            left_s = patience.left_s()
            try:
                async with asyncio.timeout(left_s):
                    response = await self._http.request(
                        call.method,
                        call.path,
                        content=call.content,
                        headers=deadline_header(left_s),
                        timeout=None,
                    )
                return call.read(response)
            except TimeoutError:
                late = unreachable(self._address, httpx.ReadTimeout(""), timeout_s)
                await asyncio.sleep(patience.pause_s(late))
            except httpx.TransportError as error:
                failed = unreachable(self._address, error, timeout_s)
                if call.is_lost(error):
                    raise failed from error
                await asyncio.sleep(patience.pause_s(failed))
            except PacelineError as error:
                await asyncio.sleep(patience.pause_s(error))

    async def _stream(self, stream: Stream, timeout_s: float | None) -> AsyncGenerator[Piece, None]:
        """Tried again like any call, but only before the first piece; each wait is bounded by what was left then."""
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        patience = Patience(self._retry, timeout_s)
        begun = False
        while True:
            left_s = patience.left_s()
            try:
                async with self._http.stream(
                    "POST",
                    stream.path,
                    content=stream.content,
                    headers=deadline_header(left_s),
                    timeout=left_s,
                ) as response:
                    if not response.is_success:
                        await response.aread()
                        refuse_failure(response)
                    async for line in response.aiter_lines():
                        for piece in stream.read(line):
                            begun = True
                            yield piece
                    stream.end()
                    return
            except httpx.TransportError as error:
                failed = unreachable(self._address, error, timeout_s)
            except PacelineError as error:
                failed = error
            if begun:
                raise failed
            await asyncio.sleep(patience.pause_s(failed))

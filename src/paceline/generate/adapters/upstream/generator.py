"""Generation by another server: each request is sent on, and what comes back is passed on as it comes.

    model's name -> breaker -> send, again after a passing failure -> first event -> events

Nothing is sent twice once its first event has been told.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Final, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from paceline.base.api import ModelCard
from paceline.base.clock import Clock, monotonic
from paceline.base.errors import (
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    EngineError,
    NotFound,
    PacelineError,
)
from paceline.base.generation import GenerateRequest, Scored, ScoreRequest
from paceline.base.knob import knob
from paceline.flow.breaker import Breaker
from paceline.flow.retry import RetryPolicy, retry
from paceline.generate.adapters.upstream.body import body_of, path_of
from paceline.generate.adapters.upstream.generation import Source, UpstreamGeneration
from paceline.generate.adapters.upstream.refusal import of_reply, of_transport
from paceline.generate.adapters.upstream.scoring import score

T = TypeVar("T")

CONNECT_S: Final = 5.0
"""Longest wait for a connection, or for a free one of the pool."""


_SILENT: Final = (httpx.ReadTimeout, httpx.WriteTimeout)


class UpstreamPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which OpenAI-compatible server answers in place of an engine of ours, and how patiently it is asked."""

    url: Annotated[
        str,
        knob(
            "Its base address as OpenAI clients take it, e.g. `https://api.openai.com/v1`; without a path `/v1` is added."
        ),
    ] = ""
    key: Annotated[str, knob("Its API key, sent as a bearer token; empty sends none.", secret=True)] = ""
    model: Annotated[str, knob("Model id asked of it, and the one clients use here.")] = ""
    timeout_s: Annotated[
        float, knob("Silence of the upstream at most, before and between events.", gt=0, le=86_400, unit="s")
    ] = 60.0
    connections: Annotated[
        int, knob("Requests under way there at the same time at most.", ge=1, le=100_000, unit="connections")
    ] = 256
    retry: RetryPolicy = RetryPolicy()


class Upstream:
    """A `Generator`. Belongs to one event loop."""

    def __init__(self, policy: UpstreamPolicy, breaker: Breaker, *, clock: Clock = monotonic) -> None:
        """Opens no connection yet. Raises ConfigError."""
        self.name = policy.model
        self.breaker = breaker
        self._policy = policy
        self._clock = clock
        self._url = _base_address(policy)
        self._http = httpx.AsyncClient(
            headers=_headers(policy.key),
            limits=httpx.Limits(
                max_connections=policy.connections, max_keepalive_connections=policy.connections
            ),
            timeout=httpx.Timeout(policy.timeout_s, connect=CONNECT_S, pool=CONNECT_S),
        )
        self._created = int(time.time())
        self._live: set[UpstreamGeneration] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.requests_total = self.sent_total = self.broken_total = 0
        self.prompt_tokens_total = self.completion_tokens_total = 0

    async def start(self, request: GenerateRequest, *, deadline_at: float) -> UpstreamGeneration:
        """See `Generator.start`: returns with the first event at hand. Raises EngineError as well."""
        self._must_be_ours(request.model)
        url, body = self._url + path_of(request), body_of(request, self._policy.model)
        self.requests_total += 1
        generation = await self._patiently(
            lambda: self._begun(url, body, request.n, deadline_at), deadline_at
        )
        self._live.add(generation)
        self._idle.clear()
        return generation

    async def score(self, request: ScoreRequest, *, deadline_at: float) -> list[Scored]:
        """See `Generator.score`; needs an upstream whose completions take `echo` together with `logprobs`."""
        self._must_be_ours(request.model)
        self.requests_total += 1

        async def complete(body: bytes) -> bytes:
            return await self._patiently(lambda: self._answer("/completions", body), deadline_at)

        return await score(request, self._policy.model, complete)

    # -- one try ----------------------------------------------------------------------------------------------

    async def _patiently(self, call: Callable[[], Awaitable[T]], deadline_at: float) -> T:
        """The result of `call`, tried again while that may help, until the deadline."""
        left_s = deadline_at - self._clock()
        try:
            async with asyncio.timeout(left_s if left_s < math.inf else None) as limit:
                return await retry(
                    lambda: self._try(call), self._policy.retry, deadline_at=deadline_at, clock=self._clock
                )
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(
                f"the deadline of {left_s:.3f} s passed before the upstream began to answer; allow more time"
            ) from None
        except httpx.TimeoutException as error:
            # Not tried again: a silent upstream is at work on it, and would be so twice.
            raise self._failure(error) from error

    async def _try(self, call: Callable[[], Awaitable[T]]) -> T:
        """`call` once, under the breaker; silence is left to the caller and counts as a fault."""
        self.sent_total += 1
        with self.breaker.guard(EngineError, *_SILENT):
            try:
                return await call()
            except _SILENT:
                raise
            except httpx.HTTPError as error:
                raise self._failure(error) from error

    def _failure(self, error: httpx.HTTPError) -> PacelineError:
        return of_transport(error, self._url, self._policy.timeout_s)

    async def _begun(self, url: str, body: bytes, choices: int, deadline_at: float) -> UpstreamGeneration:
        """Send the request and wait for the first event; closes the connection where that fails or is cancelled."""
        response = await self._http.send(self._http.build_request("POST", url, content=body), stream=True)
        source = Source(response, self._url, self._policy.timeout_s, self._clock, deadline_at)
        generation = UpstreamGeneration(source, model=self.name, choices=choices, ended=self._forget)
        try:
            await _must_be_well(response)
            await generation.begin()
        except BaseException:
            await generation.aclose()
            raise
        return generation

    async def _answer(self, path: str, body: bytes) -> bytes:
        response = await self._http.post(self._url + path, content=body)
        await _must_be_well(response)
        return response.content

    def _forget(self, generation: UpstreamGeneration) -> None:
        """An answer has ended, well or not."""
        if generation not in self._live:
            return  # it had not begun: the breaker was told by the try
        self._live.discard(generation)
        self.prompt_tokens_total += generation.usage.prompt_tokens
        self.completion_tokens_total += generation.usage.completion_tokens
        if generation.failure is not None:
            self.broken_total += 1
            self._record_broken()
        if not self._live:
            self._idle.set()

    def _record_broken(self) -> None:
        """Count a stream that broke off: its own ticket was handed back with its first event."""
        with contextlib.suppress(CircuitOpen):  # then it knows already
            self.breaker.record_failure(self.breaker.allow())

    # -- state ------------------------------------------------------------------------------------------------

    def card(self) -> ModelCard:
        """See `Generator.card`; the context's length is the upstream's secret."""
        return ModelCard(
            id=self.name,
            created=self._created,
            owned_by=urlsplit(self._url).netloc,
            task="generate",
            engine="upstream",
        )

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """See `Generator.stats`."""
        return {
            "upstream": {
                "requests_total": self.requests_total,
                "sent_total": self.sent_total,
                "broken_total": self.broken_total,
                "running": len(self._live),
                "prompt_tokens_total": self.prompt_tokens_total,
                "completion_tokens_total": self.completion_tokens_total,
            },
            "breaker": self.breaker.stats(),
        }

    def health(self) -> Mapping[str, object]:
        """See `Generator.health`."""
        state = self.breaker.state
        return {
            "status": "failing" if state == "open" else "ok",
            "breaker": state,
            "engine": f"upstream {self._url}",
        }

    async def drain(self) -> None:
        """See `Generator.drain`."""
        await self._idle.wait()

    async def close(self) -> None:
        """See `Generator.close`."""
        for generation in list(self._live):
            await generation.aclose()
        await self._http.aclose()

    def _must_be_ours(self, model: str | None) -> None:
        if model is not None and model != self.name:
            raise NotFound(
                f"model {model!r} is not served here; this server has {self.name!r} (see /v1/models)",
                param="model",
            )


async def _must_be_well(response: httpx.Response) -> None:
    if not response.is_success:
        raise of_reply(response.status_code, response.headers, await response.aread())


def _base_address(policy: UpstreamPolicy) -> str:
    parts = urlsplit(policy.url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"generate.upstream.url = {policy.url!r}: expected http://host:port or https://host/v1",
            param="generate.upstream.url",
        )
    if not policy.model:
        raise ConfigError(
            "generate.upstream.model is empty; name the model to ask for (GET /v1/models of the upstream lists them)",
            param="generate.upstream.model",
        )
    return policy.url.rstrip("/") if parts.path.strip("/") else f"{policy.url.rstrip('/')}/v1"


def _headers(key: str) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "paceline"}
    return {**headers, "authorization": f"Bearer {key}"} if key else headers

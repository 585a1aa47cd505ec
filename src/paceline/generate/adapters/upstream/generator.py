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
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx

from paceline.base.api import ModelCard
from paceline.base.clock import Clock, monotonic
from paceline.base.errors import (
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    EngineError,
    PacelineError,
)
from paceline.base.generation import GenerateRequest, Scored, ScoreRequest
from paceline.flow.breaker import Breaker
from paceline.flow.retry import retry
from paceline.generate.adapters.served_model import must_be_served
from paceline.generate.adapters.upstream.body import body_of, path_of
from paceline.generate.adapters.upstream.generation import Source, UpstreamGeneration
from paceline.generate.adapters.upstream.policy import UpstreamPolicy
from paceline.generate.adapters.upstream.refusal import of_reply, of_transport
from paceline.generate.adapters.upstream.scoring import score
from paceline.generate.policy import GeneratePolicy

T = TypeVar("T")

CONNECT_S: Final = 5.0
"""Longest wait for a connection, or for a free one of the pool."""


_SILENT: Final = (httpx.ReadTimeout, httpx.WriteTimeout)


class Upstream:
    """A `Generator`. Belongs to one event loop."""

    def __init__(
        self, policy: UpstreamPolicy, breaker: Breaker, *, name: str = "", clock: Clock = monotonic
    ) -> None:
        """Opens no connection yet; `name` is the model's here, by default the upstream's own. Raises ConfigError."""
        self.name = name or policy.model
        self._model = policy.model or name
        self.breaker = breaker
        self._policy = policy
        self._clock = clock
        self._url = _base_address(policy)
        if not self._model:
            raise ConfigError(
                "generate.upstream.model is empty; name the model to ask for (GET /v1/models of the upstream lists them)",
                param="generate.upstream.model",
            )
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
        must_be_served(request.model, self.name)
        url, body = self._url + path_of(request), body_of(request, self._model)
        self.requests_total += 1
        generation = await self._patiently(
            lambda: self._begun(url, body, request.n, deadline_at), deadline_at
        )
        self._live.add(generation)
        self._idle.clear()
        return generation

    async def score(self, request: ScoreRequest, *, deadline_at: float) -> list[Scored]:
        """See `Generator.score`; needs an upstream whose completions take `echo` together with `logprobs`."""
        must_be_served(request.model, self.name)
        self.requests_total += 1

        async def complete(body: bytes) -> bytes:
            return await self._patiently(lambda: self._answer("/completions", body), deadline_at)

        return await score(request, self._model, complete)

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
        except BaseException:  # a caller that left as well: the connection must be closed
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

    def apply(self, policy: GeneratePolicy) -> None:
        """Take over what may change while running: `breaker`."""
        self.breaker.policy = policy.breaker

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
    return policy.url.rstrip("/") if parts.path.strip("/") else f"{policy.url.rstrip('/')}/v1"


def _headers(key: str) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "paceline"}
    return {**headers, "authorization": f"Bearer {key}"} if key else headers

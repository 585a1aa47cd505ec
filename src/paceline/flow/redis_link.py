"""The one Redis connection the cache and the limiter share; the only file that knows redis-py.

Calls made in one turn of the event loop with the same budget travel as one pipeline, their keys as one MGET: a round
trip costs redis-py about 100 us, a further key 5 us. A Redis that does not answer costs nothing: after a few failures
the link's breaker refuses at once and lets one pipeline a second through to see whether it is back.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import msgspec

from paceline.base.clock import Clock, monotonic
from paceline.base.errors import CircuitOpen, ConfigError
from paceline.base.knob import knob
from paceline.flow.breaker import Breaker, BreakerPolicy

if TYPE_CHECKING:
    from redis.asyncio import Redis

_BREAKER = BreakerPolicy(failure_threshold=3, open_s=1.0, half_open_probes=1)
_IN_FLIGHT = 4
"""Pipelines (and so connections) at a time; later turns wait and travel together."""


class RedisPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Redis is."""

    url: Annotated[str, knob("redis://, rediss:// or unix:// address.", secret=True)] = (
        "redis://127.0.0.1:6379/0"
    )
    prefix: Annotated[
        str, knob("Put before every key, so that deployments can share a server.", min_length=1)
    ] = "paceline:"
    timeout_ms: Annotated[float, knob("Longest a command may take.", gt=0, le=60_000, unit="ms")] = 250.0


class Script:
    """A Lua script, called by its digest; Redis is sent the text only when it does not know it yet."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


class _Turn:
    """What was asked for since the last departure, with one budget."""

    __slots__ = ("commands", "expiry", "gets", "loop", "results", "values")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.gets: list[bytes] = []
        self.values: list[asyncio.Future[bytes | None]] = []
        self.commands: list[tuple[Any, ...]] = []
        self.results: list[asyncio.Future[Any]] = []
        self.expiry: asyncio.TimerHandle

    def fail(self, kind: type[OSError], message: str) -> None:
        """Tell everyone who still waits, each with an error of his own."""
        for future in [*self.values, *self.results]:
            if not future.done():
                future.set_exception(kind(message))


class RedisLink:
    """Connects when first used, again after Redis was restarted, and anew in a forked child or another event loop.

    Keys are given without the deployment's prefix. Every call raises ConnectionError when Redis cannot be reached,
    refuses the command or is being left alone, and TimeoutError when the call's budget is over; both are OSError.
    """

    def __init__(self, policy: RedisPolicy, clock: Clock = monotonic) -> None:
        """Raises ConfigError for an address that cannot be one; does not connect."""
        self._prefix = policy.prefix.encode()
        self._timeout_s = policy.timeout_ms / 1e3
        self._url = policy.url
        self.address = _address(policy.url)
        """The address without user and password, for messages."""
        self._clock = clock
        self.breaker = Breaker(_BREAKER, clock, name=f"Redis at {self.address}")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._client = _client(policy.url, self._timeout_s)
        self._inherited: list[Redis] = []
        """The parent's clients, kept for ever: closing them in a child would unhook the parent's event loop."""
        self._turns: dict[float, _Turn] = {}
        self._flights: set[asyncio.Task[None]] = set()
        self.last_error = ""
        self.pipelines_total = 0
        self.commands_total = 0
        self.failures_total = 0
        self.skipped_total = 0

    def gather_get(self, key: bytes, budget_s: float | None = None) -> asyncio.Future[bytes | None]:
        """The value at `key`, or None. `budget_s` is at most the policy's timeout."""
        turn = self._turn(budget_s)
        future: asyncio.Future[bytes | None] = turn.loop.create_future()
        turn.gets.append(self._prefix + key)
        turn.values.append(future)
        return future

    def set(
        self, key: bytes, value: bytes, ttl_s: float, budget_s: float | None = None
    ) -> asyncio.Future[Any]:
        """Store `value` for `ttl_s` seconds (at least a millisecond)."""
        return self._command((b"SET", self._prefix + key, value, b"PX", max(1, int(ttl_s * 1000))), budget_s)

    def delete(self, key: bytes, budget_s: float | None = None) -> asyncio.Future[Any]:
        """Forget `key`; the result is how many there were."""
        return self._command((b"DEL", self._prefix + key), budget_s)

    async def eval(
        self,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[bytes | str | int],
        budget_s: float | None = None,
    ) -> Any:
        """Run a Lua script; the result is what it returns (integers, bytes, lists)."""
        rest = (len(keys), *(self._prefix + key for key in keys), *args)
        try:
            return await self._command((b"EVALSHA", script.sha, *rest), budget_s)
        except _UnknownScriptError:
            return await self._command((b"EVAL", script.text, *rest), budget_s)

    async def ping(self) -> None:
        """Raise as every call does when Redis is not there."""
        await self._command((b"PING",), None)

    def health(self) -> dict[str, object]:
        """State for `/health`."""
        state = self.breaker.state
        health: dict[str, object] = {
            "status": "ok" if state == "closed" else "away",
            "breaker": state,
            "address": self.address,
        }
        if state != "closed":
            health["last_error"] = self.last_error
        return health

    def stats(self) -> dict[str, float]:
        """`skipped_total` counts calls refused at once because Redis was away."""
        return {
            "up": float(self.breaker.state == "closed"),
            "pipelines_total": self.pipelines_total,
            "commands_total": self.commands_total,
            "failures_total": self.failures_total,
            "skipped_total": self.skipped_total,
        }

    async def close(self) -> None:
        """Finish what is under way and disconnect; a later call connects again."""
        for flight in list(self._flights):
            await asyncio.wait([flight])
        await self._client.aclose()

    # -- departure --------------------------------------------------------------------------------------------

    def _command(self, command: tuple[Any, ...], budget_s: float | None) -> asyncio.Future[Any]:
        turn = self._turn(budget_s)
        future: asyncio.Future[Any] = turn.loop.create_future()
        turn.commands.append(command)
        turn.results.append(future)
        return future

    def _turn(self, budget_s: float | None) -> _Turn:
        """The pipeline that leaves at the end of this turn of the event loop."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._attach(loop)
        if budget_s is None or budget_s > self._timeout_s:
            budget_s = self._timeout_s
        turn = self._turns.get(budget_s)
        if turn is None:
            try:
                self.breaker.check()
            except CircuitOpen as error:
                raise ConnectionError(self._skipped(error)) from None
            turn = self._turns[budget_s] = _Turn(loop)
            turn.expiry = loop.call_later(budget_s, self._expire, turn, budget_s)
            loop.call_soon(self._depart)
        return turn

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start afresh: sockets and futures belong to the loop (and the process) that made them."""
        if self._loop is not None:
            if self._pid != os.getpid():
                self._inherited.append(self._client)
            self._client = _client(self._url, self._timeout_s)
        self._pid = os.getpid()
        self._loop = loop
        self._turns = {}
        self._flights = set()
        self.breaker = Breaker(_BREAKER, self._clock, name=f"Redis at {self.address}")

    def _depart(self) -> None:
        """Send every waiting turn, as long as there is room."""
        while self._turns and len(self._flights) < _IN_FLIGHT:
            turn = self._turns.pop(next(iter(self._turns)))
            flight = asyncio.get_running_loop().create_task(self._fly(turn))
            self._flights.add(flight)
            flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._depart()

    def _expire(self, turn: _Turn, budget_s: float) -> None:
        if self._turns.get(budget_s) is turn:  # still waiting for room: nobody wants it any more
            del self._turns[budget_s]
        turn.fail(TimeoutError, f"Redis at {self.address} did not answer within {budget_s * 1e3:.0f} ms")

    async def _fly(self, turn: _Turn) -> None:
        """One pipeline there and back; every future of the turn is settled at the end."""
        from redis.exceptions import RedisError  # noqa: PLC0415 - see _client

        fault = "the event loop stopped"
        replies: list[Any] | None = None
        try:
            with self.breaker.guard(RedisError, OSError):
                async with asyncio.timeout(self._timeout_s):
                    replies = await self._send(turn)
        except CircuitOpen as error:
            fault = self._skipped(error)
        except (RedisError, OSError) as error:  # what it says, what connecting raises, and TimeoutError
            self.failures_total += 1
            text = str(error) or f"no answer within {self._timeout_s * 1e3:.0f} ms"
            self.last_error = f"{type(error).__name__}: {text}"
            fault = f"Redis at {self.address} is away: {self.last_error}"
        finally:
            turn.expiry.cancel()
            if replies is None:
                turn.fail(ConnectionError, fault)
        if replies is not None:
            self._deliver(turn, replies)

    async def _send(self, turn: _Turn) -> list[Any]:
        """The replies in the order of the turn's commands, the MGET first; errors of single commands among them."""
        pipeline = self._client.pipeline(transaction=False)
        if turn.gets:
            pipeline.execute_command(b"MGET", *turn.gets)
        for command in turn.commands:
            pipeline.execute_command(*command)
        self.pipelines_total += 1
        self.commands_total += len(turn.gets) + len(turn.commands)
        return await pipeline.execute(raise_on_error=False)

    def _deliver(self, turn: _Turn, replies: list[Any]) -> None:
        if turn.gets:
            values = replies.pop(0)
            if isinstance(values, Exception):
                replies[:0] = [values] * len(turn.values)
            else:
                replies[:0] = values
        for future, reply in zip([*turn.values, *turn.results], replies, strict=True):
            if future.done():  # its budget was over, or the caller left
                continue
            if isinstance(reply, Exception):
                future.set_exception(self._refused(reply))
            else:
                future.set_result(reply)

    def _skipped(self, error: CircuitOpen) -> str:
        self.skipped_total += 1
        return f"{error.message} (last error: {self.last_error})"

    def _refused(self, error: Exception) -> ConnectionError:
        """Redis is there but did not do it: not the breaker's business."""
        if type(error).__name__ == "NoScriptError":
            return _UnknownScriptError()
        self.failures_total += 1
        self.last_error = f"{type(error).__name__}: {error}"
        return ConnectionError(f"Redis at {self.address} refused a command: {self.last_error}")


class _UnknownScriptError(ConnectionError):
    """Redis was sent a digest it does not know: it is new, or was restarted."""


def _address(url: str) -> str:
    """The address without user, password and options; raises ConfigError for what redis-py would misread."""
    way_out = "use redis://host:port/0, rediss://host:port/0 or unix:///path/of/socket?db=0"
    try:
        parts = urlsplit(url)
        host, port, path = parts.hostname, parts.port, parts.path
    except ValueError as error:
        raise ConfigError(f"redis.url is not an address ({error}); {way_out}", param="redis.url") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(
            f"redis.url has the scheme {parts.scheme!r}, not redis, rediss or unix; {way_out}",
            param="redis.url",
        )
    if parts.scheme == "unix":
        if not path:
            raise ConfigError(f"redis.url names no socket; {way_out}", param="redis.url")
        return f"unix://{path}"
    if path.strip("/") and not path.strip("/").isdigit():
        raise ConfigError(f"redis.url has the database {path!r}, not a number; {way_out}", param="redis.url")
    return f"{parts.scheme}://{host or 'localhost'}:{port or 6379}{path}"


def _client(url: str, timeout_s: float) -> Redis:
    """A client that opens connections when they are needed; raises ConfigError for options nobody knows."""
    # redis-py takes 0.1 s to import, so only a deployment that uses Redis pays for it.
    from redis.asyncio import Redis  # noqa: PLC0415
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    try:
        client = Redis.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),  # the callers and the breaker decide what is worth another try
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        pool = client.connection_pool
        # Made and not connected, only to see whether it takes the options.
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"redis.url has a wrong option: {error}; see redis-py's from_url", param="redis.url"
        ) from None
    return client

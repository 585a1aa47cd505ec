"""Calls between our processes: length-framed msgpack over a unix socket, many in flight on one connection.

A frame is a 4-byte little-endian length and a msgpack array. Calls are `[id, operation, payload]`, replies
`[id, ok, result or problem]`, and `[id, "", nil]` takes a call back. Measured against gRPC in docs/decisions.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from paceline.base.errors import EngineError, PacelineError, Rejected, error_of_code

Answer = Callable[[str, Any], Awaitable[Any]]
"""Answers one call: (operation, payload) -> result; a PacelineError raised travels to the caller as itself."""

MAX_FRAME_BYTES = 64 << 20
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list).decode


class _Frames(asyncio.Protocol):
    """Cuts the byte stream into frames; both ends derive from it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's is one without being derived from it

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 4:
            length = int.from_bytes(buffer[start : start + 4], "little")
            if length > MAX_FRAME_BYTES:
                assert self._transport is not None
                self._transport.abort()
                return
            if len(buffer) - start - 4 < length:
                break
            self.received(_decode(memoryview(buffer)[start + 4 : start + 4 + length].tobytes()))
            start += 4 + length
        del buffer[:start]

    def send(self, message: list[Any]) -> None:
        """Send one frame; a closed connection drops it, its end hears through `connection_lost`."""
        if self._transport is not None and not self._transport.is_closing():
            body = _encode(message)
            self._transport.write(len(body).to_bytes(4, "little") + body)

    def received(self, message: list[Any]) -> None:
        """Called with every whole message."""
        raise TypeError(f"{type(self).__name__} must take messages, got {message!r}")


class _Served(_Frames):
    """The answering end of one connection; its open calls end with it."""

    def __init__(self, answer: Answer, connections: set[_Served]) -> None:
        super().__init__()
        self._answer = answer
        self._connections = connections
        self._running: dict[int, asyncio.Task[None]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._connections.discard(self)
        for task in list(self._running.values()):
            task.cancel()

    def received(self, message: list[Any]) -> None:
        call, operation, payload = message
        if operation:
            task = asyncio.get_running_loop().create_task(self._run(call, operation, payload))
            self._running[call] = task
            task.add_done_callback(lambda _: self._running.pop(call, None))
        elif call in self._running:
            self._running[call].cancel()

    async def _run(self, call: int, operation: str, payload: Any) -> None:
        try:
            result = await self._answer(operation, payload)
        except PacelineError as error:
            problem: dict[str, Any] = {"code": error.code, "message": error.message, "param": error.param}
            if isinstance(error, Rejected):
                problem["retry_after_s"] = error.retry_after_s
            self.send([call, False, problem])
        except Exception as error:  # noqa: BLE001 - the caller must hear of any fault, or it waits for ever
            self.send(
                [call, False, {"code": EngineError.code, "message": f"{type(error).__name__}: {error}"}]
            )
        else:
            self.send([call, True, result])

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


class ChannelServer:
    """Answers calls on a unix socket."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._server: asyncio.AbstractServer | None = None
        self._connections: set[_Served] = set()

    async def start(self) -> None:
        """Listen; an old socket of a dead process is replaced."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: _Served(self._answer, self._connections), str(self._path)
        )
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening and close every connection; open calls are cancelled."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.close()
            await self._server.wait_closed()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


class _Caller(_Frames):
    """The calling end of one connection."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[int, asyncio.Future[Any]] = {}
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(
                    EngineError(
                        f"the engine process went away ({exc or 'connection closed'}); it is being restarted"
                    )
                )
        self.waiting.clear()

    def received(self, message: list[Any]) -> None:
        call, ok, result = message
        future = self.waiting.pop(call, None)
        if future is None or future.done():
            return
        if ok:
            future.set_result(result)
        else:
            future.set_exception(error_of_code(**result))


class Channel:
    """Calls a `ChannelServer`; connects when first used and again after the other end was restarted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._caller: _Caller | None = None
        self._connecting: asyncio.Lock = asyncio.Lock()
        self._ids = itertools.count()

    @property
    def connected(self) -> bool:
        """Whether the last known connection still stands."""
        return self._caller is not None and self._caller.open

    async def call(self, operation: str, payload: Any) -> Any:
        """The other end's result. Cancelling the call cancels it there too.

        Raises the PacelineError raised there, or EngineError when the process is not there.
        """
        caller = self._caller
        if caller is None or not caller.open:
            caller = await self._connect()
        call = next(self._ids)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        caller.waiting[call] = future
        caller.send([call, operation, payload])
        try:
            return await future
        except asyncio.CancelledError:
            if caller.waiting.pop(call, None) is not None:
                caller.send([call, "", None])
            raise

    async def _connect(self) -> _Caller:
        async with self._connecting:  # one connection, however many calls find it missing
            if self._caller is None or not self._caller.open:
                try:
                    _, caller = await asyncio.get_running_loop().create_unix_connection(
                        _Caller, str(self._path)
                    )
                except OSError as error:
                    raise EngineError(
                        f"the engine process does not answer on {self._path} ({error.strerror}); it is being restarted"
                    ) from None
                self._caller = caller
            return self._caller

    async def close(self) -> None:
        """Close the connection; open calls fail."""
        if self._caller is not None and self._caller._transport is not None:  # noqa: SLF001 - same file
            self._caller._transport.close()  # noqa: SLF001

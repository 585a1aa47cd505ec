"""One request to a test server and the way to answer it; the options of such a server."""

from __future__ import annotations

import asyncio
import http.client
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Options:
    """Of the server; each is a flag of the command line. Zero, empty and False mean: does not happen."""

    delay_ms: float = 0.0
    """Before the first byte of every answer."""
    serial_ms: float = 0.0
    """As long takes every request, one after another: a queue with a known capacity."""
    body: str = '{"ok": true}'
    status: int = 200
    """Of behaviour `status`, and of every second answer of `alternating`."""
    close_after: int = 0
    """The connection is closed after so many answers..."""
    announce: bool = False
    """...and the last of them says `Connection: close`."""
    die_after: int = 0
    """The process ends when a request more than so many arrives."""
    split: bool = False
    """Every byte is written alone."""
    freeze_ms: float = 0.0
    """The whole process stops for so long..."""
    freeze_every_s: float = 2.0
    """...at each multiple of this since it started."""
    certificate: str = ""
    """PEM file of key and certificate: speak TLS."""
    tokens: int = 8
    """Of `sse`, as are the following."""
    first_ms: float = 0.0
    """From the role-only first event to the first token."""
    gap_ms: float = 1.0
    per_event: int = 1
    """Tokens in one event."""
    usage: str = "asked"
    """`asked`, `always`, `never`, or `wrong` (asked, and twice the truth)."""
    die_at: int = 0
    """The connection is reset after so many tokens."""
    end_at: int = 0
    """The answer ends properly after so many tokens, but without finish_reason and [DONE]."""
    error_at: int = 0
    """An error event comes after so many tokens, then the end."""
    crlf: bool = False
    """Lines end in CR LF, and comments come in between."""


@dataclass
class Request:
    """As it came, with the time its head was read."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at_ns: int

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object in the body; empty without one."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Hangup(Exception):  # noqa: N818 - it is a way to end, not an error
    """Close the connection; `reset` without a goodbye."""

    def __init__(self, *, reset: bool = False) -> None:
        self.reset = reset


class Exchange:
    """One request and the way to answer it."""

    def __init__(
        self, request: Request, writer: asyncio.StreamWriter, options: Options, number: int, last: bool
    ):
        self.request, self.options, self.number, self.last = request, options, number, last
        self._writer = writer

    async def send(self, data: bytes) -> None:
        if not self.options.split:
            self._writer.write(data)
        else:
            for position in range(len(data)):
                self._writer.write(data[position : position + 1])
                await asyncio.sleep(0)
        await self._writer.drain()

    async def head(self, status: int = 200, **headers: str | int) -> None:
        if self.last and self.options.announce:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {status} {http.client.responses[status]}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def whole(self, body: bytes, status: int = 200, kind: str = "application/json") -> None:
        await self.head(status, Content_Type=kind, Content_Length=len(body))
        await self.send(body)

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

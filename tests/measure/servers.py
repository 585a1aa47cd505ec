"""Real HTTP/1.1 servers in a process of their own, well behaved and not: `with serving("sse", tokens=8) as server:`.

By hand: `python tests/measure/servers.py --behaviour chunked --port 0`; the port is its one line of output. `GET /_seen` tells
as JSON who came and when (CLOCK_MONOTONIC, which is the same in every process); it is itself not counted.
The behaviours are in `behaviours.py`; the options in `exchange.py` go with any of them where that makes sense.
Standard library only, so that the process starts in a tenth of a second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from behaviours import BEHAVIOURS, DEAF
from exchange import Exchange, Hangup, Options, Request


@dataclass
class Seen:
    """What one server saw."""

    requests: int = 0
    connections: int = 0
    open: int = 0
    """Connections that are open now, the asking one not counted."""
    most_open: int = 0
    at_ns: list[int] = field(default_factory=list)
    by_connection: dict[str, int] = field(default_factory=dict)
    first: list[dict[str, Any]] = field(default_factory=list)
    """Method, target, headers and body of the first thousand."""


class Listener:
    """Reads requests, counts them, and lets the behaviour answer."""

    def __init__(self, behaviour: str, options: Options) -> None:
        self._behaviour, self._options = BEHAVIOURS[behaviour], options
        self._numbers = itertools.count()
        self._one_by_one = asyncio.Lock()
        self.seen = Seen()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = next(self._numbers)
        # asyncio leaves Nagle's algorithm on for sockets that were not made with a protocol number.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._opened(1)
        self.seen.connections += 1
        try:
            await self._converse(reader, writer, connection)
        except Hangup as hangup:
            if hangup.reset:
                link = writer.get_extra_info("socket")
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        except (OSError, EOFError, ValueError):
            pass  # the caller left, or said what is no request
        finally:
            self._opened(-1)
            writer.close()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        for count in itertools.count(1):
            request = await _read(reader, connection)
            last = count == self._options.close_after
            exchange = Exchange(request, writer, self._options, self.seen.requests, last)
            if request.target == "/_seen":
                self.seen.connections -= 1
                seen = {**self.seen.__dict__, "open": self.seen.open - 1}
                await exchange.whole(json.dumps(seen).encode())
                raise Hangup
            if self._options.die_after and self.seen.requests == self._options.die_after:
                os._exit(1)
            self._count(request)
            if self._options.delay_ms:
                await asyncio.sleep(self._options.delay_ms / 1e3)
            if self._options.serial_ms:
                async with self._one_by_one:
                    await asyncio.sleep(self._options.serial_ms / 1e3)
            await self._behaviour(exchange)
            if last:
                raise Hangup

    def _opened(self, change: int) -> None:
        self.seen.open += change
        self.seen.most_open = max(self.seen.most_open, self.seen.open)

    def _count(self, request: Request) -> None:
        self.seen.requests += 1
        self.seen.at_ns.append(request.at_ns)
        name = str(request.connection)
        self.seen.by_connection[name] = self.seen.by_connection.get(name, 0) + 1
        if len(self.seen.first) < 1000:
            told = {"method": request.method, "target": request.target, "headers": request.headers}
            self.seen.first.append({**told, "body": request.body.decode(errors="replace")})


async def _read(reader: asyncio.StreamReader, connection: int) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    at_ns = time.monotonic_ns()
    first, *lines = head.split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, target, _ = first.split(" ")
    return Request(method, target, headers, body, connection, at_ns)


async def _freeze(options: Options, started_at: float) -> None:
    for number in itertools.count(1):
        await asyncio.sleep(started_at + number * options.freeze_every_s - time.monotonic())
        time.sleep(options.freeze_ms / 1e3)  # noqa: ASYNC251 - nobody is served meanwhile, as in a long collection


async def _run(behaviour: str, port: int, options: Options) -> None:
    link = socket.create_server(("127.0.0.1", port), backlog=4096)
    context = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate)
    server = await asyncio.start_server(Listener(behaviour, options).serve, sock=link, ssl=context)
    _say(link)
    freezing = asyncio.create_task(_freeze(options, time.monotonic())) if options.freeze_ms else None
    await server.serve_forever()
    del freezing


def _say(link: socket.socket) -> None:
    sys.stdout.write(f"{link.getsockname()[1]}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--behaviour", required=True, choices=[*BEHAVIOURS, *DEAF])
    parser.add_argument("--port", type=int, default=0)
    for option in fields(Options):
        flag = "--" + option.name.replace("_", "-")
        if isinstance(option.default, bool):
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(option.default), default=option.default)
    given = vars(parser.parse_args())
    behaviour, port = given.pop("behaviour"), given.pop("port")
    if behaviour in DEAF:
        with socket.socket() as link:
            link.bind(("127.0.0.1", port))
            if behaviour == "deaf":
                link.listen(0)
            _say(link)
            signal.pause()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(behaviour, port, Options(**given)))
    return 0


@dataclass
class Server:
    """A server process as tests see it."""

    url: str
    port: int
    process: subprocess.Popen[bytes]
    ca_file: str | None = None
    """What to trust, where it speaks TLS."""

    def seen(self) -> Seen:
        """Asked now, from the server itself; it must be one that reads requests, alive and not frozen."""
        link: http.client.HTTPConnection
        if self.ca_file is None:
            link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        else:
            trust = ssl.create_default_context(cafile=self.ca_file)
            link = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=trust)
        with contextlib.closing(link):
            link.request("GET", "/_seen")
            return Seen(**json.loads(link.getresponse().read()))

    @property
    def requests_seen(self) -> int:
        return self.seen().requests

    def kill(self) -> None:
        """As a crash would; the port then refuses."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def serving(behaviour: str, *, port: int = 0, tls: bool = False, **options: object) -> Iterator[Server]:
    """A server of that behaviour on a free port, ended with the block. `options` are the fields of `Options`."""
    known = {option.name for option in fields(Options)}
    assert options.keys() <= known, f"no such option: {sorted(options.keys() - known)}"
    with tempfile.TemporaryDirectory() as folder:
        certificate = _certificate(Path(folder)) if tls else None
        if certificate is not None:
            options["certificate"] = certificate
        flags = [
            f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
            for name, value in options.items()
            if value is not False
        ]
        command = [sys.executable, __file__, f"--behaviour={behaviour}", f"--port={port}", *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, f"{command} did not start"
                bound = int(line)
                url = f"http{'s' if tls else ''}://127.0.0.1:{bound}/"
                yield Server(url, bound, process, certificate)
            finally:
                process.kill()


def _certificate(folder: Path) -> str:
    """Key and self-signed certificate for localhost and 127.0.0.1, in one file."""
    path = str(folder / "both.pem")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path + ".key")
    command = [
        "openssl",
        "req",
        "-x509",
        *key,
        "-out",
        path,
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        names,
    ]
    subprocess.run(command, check=True, capture_output=True)
    Path(path).write_bytes(Path(path).read_bytes() + Path(path + ".key").read_bytes())
    return path


if __name__ == "__main__":
    sys.exit(main())

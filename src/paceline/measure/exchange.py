"""One request and its answer, waited for: what a run sends ahead of itself to see whether anybody is there."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass

import httptools

from paceline.base.errors import Unreachable
from paceline.measure.engine.framing import Framing, Malformed
from paceline.measure.engine.link import READ_BYTES, resolve, tls_context
from paceline.measure.load.request import Address, address
from paceline.measure.plan import Target

MAX_ANSWER_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A whole answer."""

    status: int
    body: bytes
    seconds: float

    def excerpt(self) -> str:
        """The beginning of the body, in one line, for an error message."""
        text = " ".join(self.body[:400].decode("utf-8", "replace").split())
        return text[:160] + ("..." if len(text) > 160 else "")


class _Body:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)


def exchange(target: Target, payload: bytes, timeout_s: float) -> Exchanged:
    """Send `payload` and wait for the answer; raises Unreachable, saying what happened on the way."""
    where = address(target)
    began = time.monotonic()
    try:
        raw = _ask(target, where, payload, began + timeout_s)
    except TimeoutError:
        raise Unreachable(
            f"no answer from {where.host}:{where.port} within {timeout_s:g} s; is that the right address? "
            "--timeout gives it longer"
        ) from None
    except Malformed as error:
        raise Unreachable(f"{where.host}:{where.port} does not speak HTTP/1.1 ({error})") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise Unreachable(
            f"cannot reach {where.host}:{where.port}: {why}; is the server running, and is that its address?"
        ) from None
    body = _Body()
    parser = httptools.HttpResponseParser(body)
    with suppress(httptools.HttpParserError):  # behind a whole answer: nobody asked for it
        parser.feed_data(raw)
    return Exchanged(parser.get_status_code(), b"".join(body.pieces), time.monotonic() - began)


def _ask(target: Target, where: Address, payload: bytes, until: float) -> bytes:
    family, socket_address = resolve(where)
    with socket.socket(family, socket.SOCK_STREAM) as plain:
        plain.settimeout(max(0.001, until - time.monotonic()))
        plain.connect(socket_address)
        if not where.tls:
            return _talk(plain, payload, until)
        context = tls_context(insecure=target.insecure, ca_file=target.ca_file)
        with context.wrap_socket(plain, server_hostname=where.server_name) as secure:
            return _talk(secure, payload, until)


def _talk(link: socket.socket, payload: bytes, until: float) -> bytes:
    link.sendall(payload)
    framing = Framing()
    got = bytearray()
    while len(got) < MAX_ANSWER_BYTES:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        link.settimeout(left)
        piece = link.recv(READ_BYTES)
        if not piece:
            if framing.ends_by_close():
                return bytes(got)
            raise ConnectionResetError(0, "it closed the connection before its answer was whole")
        got += piece
        if framing.feed(piece):
            return bytes(got)
    raise Malformed(f"an answer above {MAX_ANSWER_BYTES} bytes")

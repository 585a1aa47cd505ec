"""The head of a request whose bytes are all in hand, parsed once for all requests that begin with the same bytes."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import httptools
import msgspec

END = b"\r\n\r\n"

_LENGTH_DIGITS = 9
_NOT_PLAIN = (b"transfer-encoding", b"expect", b"upgrade")


class Head(msgspec.Struct, frozen=True, gc=False):
    """What the quick path needs to know of a POST that keeps its connection open. Shared: never change it."""

    path: str
    headers: Mapping[bytes, bytes]
    """By lower-case name; of several of one name the last, as everywhere here."""
    body_bytes: int


class _Reader:
    """Callbacks of httptools: the parser that uvicorn uses, so both read the same thing."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.heads = 0
        self.beyond = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.heads += 1

    def on_body(self, _: bytes) -> None:
        self.beyond = True

    def on_message_complete(self) -> None:
        self.beyond = True


@functools.lru_cache(maxsize=512)
def read_head(raw: bytes) -> Head | None:
    """The head that `raw`, up to and with the first empty line, is; None when the ordinary path must read it.

    That is: when it is not valid, not a POST of HTTP/1.1, has no body or one without `content-length`, a query or a
    percent sign in its path, asks to be told to continue, to upgrade, or to close the connection.
    """
    reader = _Reader()
    parser = httptools.HttpRequestParser(reader)
    try:
        parser.feed_data(raw)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    headers = dict(reader.headers)
    length = headers.get(b"content-length", b"")
    if (
        reader.heads != 1
        or reader.beyond  # an empty body, or a line that ended the head before `raw` ends
        or not length.isdigit()
        or len(length) > _LENGTH_DIGITS
        or parser.get_method() != b"POST"
        or parser.get_http_version() != "1.1"
        or not parser.should_keep_alive()
        or any(name in headers for name in _NOT_PLAIN)
        or not reader.url.startswith(b"/")
        or any(mark in reader.url for mark in (b"?", b"%", b"#"))
        or not reader.url.isascii()
    ):
        return None
    return Head(reader.url.decode(), headers, int(length))

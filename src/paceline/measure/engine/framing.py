"""Where an HTTP answer ends: llhttp finds it, and a template of the last answer finds it faster when they look alike.

`Template` is exact, not a guess: the very same bytes end where they ended before, and so do others of the same
length with the same status line, the same Content-Length at the same place and the end of the head at the same place.
Everything else takes the parser.
"""

from __future__ import annotations

import re
from typing import Any

import httptools

MAX_HEAD_BYTES = 65_536
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*\d+[ \t]*\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"


class Malformed(Exception):  # noqa: N818 - never leaves the engine
    """What came is not HTTP."""


class Framing:
    """The parser of one connection's answers, one after another."""

    __slots__ = ("_feed", "_head", "_headed", "_parser", "complete", "excess", "keep_alive", "status")

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._feed: Any = self._parser.feed_data
        self._head = b""
        self._headed = False
        self.complete = False
        self.excess = False
        """More came than one answer: this connection cannot be trusted with another request."""
        self.keep_alive = True
        self.status = 0

    def on_headers_complete(self) -> None:
        """Called by llhttp."""
        self._headed = True

    def on_message_complete(self) -> None:
        """Called by llhttp."""
        status = self._parser.get_status_code()
        if 100 <= status < 200:  # an interim answer; the real one follows
            self._headed = False
            self._head = b""
            return
        self.excess = self.complete
        self.complete = True
        self.status = status
        self.keep_alive = self._parser.should_keep_alive()

    def feed(self, data: bytes) -> bool:
        """Take in more; True when the answer is whole. Raises Malformed."""
        if not self._headed:
            self._head += data
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            if self.complete:
                self.excess = True
                return True
            raise Malformed(str(error)) from None
        return self.complete

    def head_is_open(self) -> bool:
        """Whether the head has not ended yet."""
        return not self._headed

    def ends_by_close(self) -> bool:
        """Whether what came so far is a whole answer now that the server has closed."""
        if not self._headed:
            return False
        head = self._head.partition(_END)[0].lower() + b"\r\n"
        self.status = self._parser.get_status_code()
        self.keep_alive = False
        return b"\r\ncontent-length:" not in head and b"\r\ntransfer-encoding:" not in head

    def next(self) -> None:
        """Ready for the next answer."""
        self.complete = False
        self._head = b""
        self._headed = False

    def release(self) -> None:
        """Break the circle of parser and framing (the collector is off while a run goes on)."""
        self._parser = None
        self._feed = None


class Template:
    """What a whole answer in one piece looked like."""

    __slots__ = (
        "_end_at",
        "_length",
        "_length_at",
        "_length_line",
        "_length_to",
        "_status_line",
        "data",
        "status",
    )

    def __init__(self, data: bytes, status: int) -> None:
        """`data` is a whole answer with a Content-Length that keeps the connection alive."""
        self.data = data
        """The newest that fitted: answers in a row often differ in nothing, and comparing them is the cheapest."""
        self._end_at = data.index(_END)
        found = _LENGTH.search(data, 0, self._end_at + 2)
        assert found is not None
        self._length = len(data)
        self._length_at, self._length_to = found.span()
        self._length_line = found[0]
        self.status = status
        self._status_line = data[:12]

    def fits(self, data: bytes) -> bool:
        """Whether `data` is a whole answer with the status of this one."""
        if (
            len(data) == self._length
            and data.startswith(self._status_line)
            and data[self._length_at : self._length_to] == self._length_line
            and data.find(_END) == self._end_at
        ):
            self.data = data
            return True
        return False


def template_of(data: bytes, framing: Framing) -> Template | None:
    """A template, if this answer (whole, in one piece, just parsed by `framing`) makes one."""
    if not framing.keep_alive or framing.excess:
        return None
    end = data.find(_END)
    head = data[: end + 2]
    found = _LENGTH.search(head)
    if found is None or b"\r\ntransfer-encoding:" in head.lower():
        return None
    length = int(found[0].partition(b":")[2])
    if end + 4 + length != len(data):  # 204, 304 and interim answers frame otherwise
        return None
    return Template(data, framing.status)

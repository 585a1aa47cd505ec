"""The access log: one JSON line for each reply, appended to a file that several processes may share.

It says when a request came, what it was called, and how it ended; never what it held, its query or its token. What is
not HTTP, which uvicorn refuses by itself, is not in it. `paceline measure` replays it.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from paceline.base.errors import ConfigError

log = logging.getLogger("paceline.serve")

STDOUT: Final = "-"
MAX_PATH: Final = 256
"""Longer paths are cut: a log must not grow with what strangers try."""
_WHOLE_BYTES: Final = 4096
"""What a pipe takes whole, so that the lines of several processes do not mix (PIPE_BUF)."""


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """One reply. Fields that are not known are left out."""

    at: float
    """Arrival of the head, seconds since 1970."""
    method: str
    path: str
    status: int
    """499 is a caller that left before."""
    duration_ms: float
    """From the head of the request to its reply."""
    request_id: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    ttft_ms: float | None = None
    """From the head of the request to the first token of the answer."""
    rows: int | None = None
    """Texts or prompts in the request."""
    priority: str | None = None
    tier: str | None = None
    """Where the answer came from, as the header `x-paceline-cache` has it."""


class AccessLog:
    """Lines are encoded where the reply leaves and written by a thread, so the event loop never waits for a disk."""

    def __init__(self, path: str, *, flush_s: float = 1.0, max_waiting: int = 200_000) -> None:
        """`-` is standard output. Raises ConfigError when `path` cannot be opened.

        For a disk or a reader that does not keep up, `max_waiting` lines are kept; more are dropped, and reported.
        """
        self._path = path
        self._flush_s = flush_s
        self._max_waiting = max_waiting
        self._fd = 1 if path == STDOUT else self._open()
        self._encode = msgspec.json.Encoder().encode
        self._waiting: deque[bytes] = deque()
        self._refused = 0
        """Lines that found no room; counted by the caller's thread, the two below by the writer."""
        self._failed = 0
        self._told = 0
        self._torn = False
        """Whether the last write failed, perhaps within a line."""
        self._stopping = threading.Event()
        self._writer = threading.Thread(target=self._keep_writing, name="access-log", daemon=True)
        self._writer.start()

    def add(self, line: Line) -> None:
        """Take one line; it is written within a second. To be called from one thread."""
        if len(self._waiting) < self._max_waiting:
            self._waiting.append(self._encode(line))
        else:
            self._refused += 1

    def close(self) -> None:
        """Write what waits; gives up after five seconds on a reader that has stalled."""
        self._stopping.set()
        self._writer.join(5.0)

    # -- the thread -----------------------------------------------------------------------------------------------

    def _keep_writing(self) -> None:
        while not self._stopping.wait(self._flush_s):
            self._flush()
        self._flush()
        if self._fd != 1:
            os.close(self._fd)

    def _flush(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not lines:
            return
        try:
            self._write(lines)
        except OSError as error:
            self._failed += len(lines)
            if not self._torn:
                log.error("serve.access_log = %r: %s; lines are lost", self._path, error.strerror)  # noqa: TRY400
            self._torn = True
            return
        lost = self._refused + self._failed - self._told
        if lost:
            log.warning("serve.access_log = %r could not keep up: %d lines were lost", self._path, lost)
            self._told += lost

    def _write(self, lines: list[bytes]) -> None:
        self._reopen_if_moved()
        regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        text = b"".join(b"%b\n" % line for line in lines)
        if self._torn:
            text = b"\n" + text  # whatever is there of a line ends here
        for piece in [text] if regular else pieces(text):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        self._torn = False

    def _reopen_if_moved(self) -> None:
        """Follow a log that was rotated away."""
        if self._fd == 1:
            return
        try:
            moved = not os.path.samestat(os.stat(self._path), os.fstat(self._fd))  # noqa: PTH116 - beside fstat
        except FileNotFoundError:
            moved = True
        if moved:
            fresh = self._open()
            os.close(self._fd)
            self._fd = fresh

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        except OSError as error:
            raise ConfigError(
                f"serve.access_log = {self._path!r}: {error.strerror}; choose a file this process may write, or -",
                param="serve.access_log",
            ) from None


def pieces(text: bytes) -> Iterator[bytes]:
    """`text` in pieces that a pipe takes whole, each of whole lines where lines are not longer than that."""
    start = 0
    while len(text) - start > _WHOLE_BYTES:
        end = text.rfind(b"\n", start, start + _WHOLE_BYTES) + 1 or start + _WHOLE_BYTES
        yield text[start:end]
        start = end
    yield text[start:]


@contextmanager
def open_access_log(path: str) -> Iterator[AccessLog | None]:
    """The log while the block runs, or None for an empty `path`; raises ConfigError when it cannot be written."""
    if not path:
        yield None
        return
    access_log = AccessLog(path)
    try:
        yield access_log
    finally:
        access_log.close()

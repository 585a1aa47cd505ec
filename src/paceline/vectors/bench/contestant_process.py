"""The other end of a worker: asks it, waits, and gives up when the user does."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from paceline.base.errors import EngineError
from paceline.vectors.bench.worker import Answer, Job, Request, read_frame, write_frame

Interrupted = Callable[[], bool]
_LOOK_S: Final = 0.1
_LAST_WORDS: Final = 300
_CLOSING_S: Final = 20.0
_Value = TypeVar("_Value")


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The user wants no more."""


class ContestantProcess:
    """A worker that was started from here; `close` ends it, whatever it does."""

    def __init__(self, job: Job, interrupted: Interrupted) -> None:
        # The package as it is here, wherever the other process would look for it.
        path = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
        self.name = job.name
        self._interrupted = interrupted
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "paceline.vectors.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for us, who end it
        )
        self._write(msgspec.msgpack.encode(job))

    def ask(self, request: Request, kind: type[_Value]) -> _Value:
        """The answer. EngineError with what the contestant says, or as it dies; Stopped on Ctrl-C."""
        self._write(msgspec.msgpack.encode(request))
        source = self._process.stdout
        assert source is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(source, selectors.EVENT_READ)
            while not waiting.select(_LOOK_S):
                if self._interrupted():
                    raise Stopped
        frame = read_frame(source)
        if not frame:
            raise EngineError(f"{self.name} ended with {self._process.wait()}: {self._last_words()}")
        said = msgspec.msgpack.decode(frame, type=Answer)
        if said.failed:
            raise EngineError(said.failed)
        return msgspec.msgpack.decode(said.value, type=kind)

    def _write(self, payload: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died, which the answer tells
            write_frame(self._process.stdin, payload)

    def _last_words(self) -> str:
        self._said.seek(0)
        return " ".join(self._said.read().decode(errors="replace").split())[-_LAST_WORDS:] or "no word"

    def close(self, *, quietly: bool = True) -> None:
        """Let it close its index; at once if `quietly` is false."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not quietly:
            self._process.kill()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._said.close()

"""Joining segments in a process of its own, of lowest priority: `python -m paceline.vectors.join_process`.

It reads a job from standard input and answers with the checksum of the new segment's head, or with an error. It ends
when standard input does, so that it does not outlive the process that wants the segment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import EngineError, PacelineError, error_of_code
from paceline.vectors.contents import Taken, joined
from paceline.vectors.graph_plan import GraphPlan
from paceline.vectors.policy import Schema
from paceline.vectors.segment import Segment, write_segment

_NICE: Final = 19


class JoinInput(msgspec.Struct, frozen=True):
    """A segment and the rows that are wanted of it."""

    folder: str
    digest: str
    rows: bytes  # int32

    @classmethod
    def of(cls, segment: Segment, digest: str, rows: NDArray[np.int32]) -> Self:
        """An input as the other process reads it."""
        return cls(str(segment.folder), digest, rows.tobytes())

    def taken(self) -> Taken:
        """The segment, opened here."""
        return Segment.open(Path(self.folder), self.digest), np.frombuffer(self.rows, np.int32)


class JoinJob(msgspec.Struct, frozen=True):
    """What to make of what."""

    inputs: list[JoinInput]
    schema: Schema
    plan: GraphPlan | None
    folder: str


class JoinAnswer(msgspec.Struct, frozen=True):
    """The new segment's checksum, or what went wrong."""

    digest: str = ""
    code: str = ""
    message: str = ""


class JoinProcess:
    """One join, running; `stop` may be called by any thread."""

    def __init__(self, job: JoinJob) -> None:
        # The package as it is here, wherever the other process would look for it.
        path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "paceline.vectors.join_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for whoever started it, who ends it
        )
        self._job = msgspec.msgpack.encode(job)

    def result(self) -> str:
        """Wait for the checksum. The error of the other process; EngineError if it died."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            try:
                process.stdin.write(len(self._job).to_bytes(8, "little") + self._job)
                process.stdin.flush()
                text = process.stdout.read()
            except BrokenPipeError:
                text = b""
            with suppress(BrokenPipeError):
                process.stdin.close()
        if not text:
            raise EngineError(
                f"the process that joins segments ended with {process.returncode} and no answer"
            )
        answer = msgspec.json.decode(text, type=JoinAnswer)
        if answer.code:
            raise error_of_code(answer.code, answer.message)
        return answer.digest

    def stop(self) -> None:
        """End it now; what it wrote is removed when the collection is next opened."""
        self._process.kill()


def answer(job: JoinJob) -> JoinAnswer:
    """Do a job."""
    try:
        content = joined([entry.taken() for entry in job.inputs], job.schema, job.plan)
        return JoinAnswer(digest=write_segment(Path(job.folder), content))
    except PacelineError as error:
        return JoinAnswer(code=error.code, message=error.message)


def main() -> None:
    """Read a job, answer it."""
    os.nice(_NICE)
    source: Any = sys.stdin.buffer
    size = int.from_bytes(source.read(8), "little")
    text = source.read(size)
    if len(text) < size or not text:
        return  # who wanted the segment is gone
    job = msgspec.msgpack.decode(text, type=JoinJob)

    def leave_with_parent() -> None:
        source.read()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    sys.stdout.buffer.write(msgspec.json.encode(answer(job)))
    sys.stdout.flush()
    os._exit(0)  # the thread above still reads


if __name__ == "__main__":
    main()

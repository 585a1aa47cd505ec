"""One contestant in a process of its own: `python -m paceline.vectors.bench.worker`.

So that no library disturbs another, memory can be told apart, and one that crashes does not end the run. It reads a job
and then requests from standard input, each a msgpack frame, and answers on what was standard output; what libraries
print goes to standard error. It ends when standard input does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from paceline.vectors.bench.contestant import Contestant, Setup
from paceline.vectors.bench.corpus import Corpus
from paceline.vectors.bench.measure_build import build, opened
from paceline.vectors.bench.measure_changes import measure_changes
from paceline.vectors.bench.measure_search import search_pass
from paceline.vectors.bench.roster import ROSTER

LENGTH_BYTES: Final = 8


class Job(msgspec.Struct, frozen=True):
    """Who, where, and on what."""

    name: str
    setup: Setup
    corpus: str
    """Folder of the corpus."""
    pass_s: float
    """Seconds of one pass over the queries, at most."""


class DoBuild(msgspec.Struct, frozen=True, tag=True):
    """Build the index; answers `Build`."""


class DoOpen(msgspec.Struct, frozen=True, tag=True):
    """Open the index and search it once; answers `Size`."""

    effort: int


class DoSearch(msgspec.Struct, frozen=True, tag=True):
    """One pass over the queries; answers `Pass`."""

    effort: int
    singles: bool


class DoChanges(msgspec.Struct, frozen=True, tag=True):
    """Replace and delete in the index that is open; answers `Changes`."""

    effort: int


class DoPrecisions(msgspec.Struct, frozen=True, tag=True):
    """Our graph on codes of every precision; answers a list of `Precision`."""


Request = DoBuild | DoOpen | DoSearch | DoChanges | DoPrecisions


class Answer(msgspec.Struct, frozen=True):
    """What was asked for, or why there is none."""

    value: msgspec.Raw = msgspec.Raw(b"\xc0")  # msgpack's nil
    failed: str = ""


class Worker:
    """Does what requests say, one after another."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.entry = ROSTER[job.name]
        self.corpus = Corpus.open(Path(job.corpus))
        self._contestant: Contestant | None = None

    def answer(self, request: Request) -> Any:
        """The answer to a request."""
        match request:
            case DoBuild():
                return build(self.entry, self.job.setup, self.corpus)
            case DoOpen(effort):
                self._contestant, size = opened(
                    self.entry, self.job.setup, self.corpus, effort, self.job.pass_s
                )
                return size
            case DoSearch(effort, singles):
                return search_pass(self.contestant, self.corpus, effort, self.job.pass_s, singles=singles)
            case DoChanges(effort):
                return measure_changes(self.contestant, self.corpus, effort, self.job.pass_s)
            case DoPrecisions():
                from paceline.vectors.bench.measure_precisions import measure_precisions  # noqa: PLC0415 - numba

                return list(measure_precisions(self.job.setup.path, self.corpus))

    @property
    def contestant(self) -> Contestant:
        """The index that is open."""
        assert self._contestant is not None, "DoOpen comes first"
        return self._contestant

    def close(self) -> None:
        """Close the index, if one is open."""
        if self._contestant is not None:
            self._contestant.close()


def read_frame(source: Any) -> bytes:
    """The next frame; empty at the end."""
    length = source.read(LENGTH_BYTES)
    payload: bytes = source.read(int.from_bytes(length, "little")) if length else b""
    return payload


def write_frame(target: Any, payload: bytes) -> None:
    """Write a frame."""
    target.write(len(payload).to_bytes(LENGTH_BYTES, "little") + payload)
    target.flush()


def main() -> None:
    """Serve requests until there are no more."""
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker = Worker(msgspec.msgpack.decode(read_frame(source), type=Job))
    while frame := read_frame(source):
        try:
            value = worker.answer(msgspec.msgpack.decode(frame, type=Request))
            said = Answer(msgspec.Raw(msgspec.msgpack.encode(value)))
        except Exception as error:  # noqa: BLE001 - whatever a library raises is the answer, and the others go on
            said = Answer(failed=f"{type(error).__name__}: {error}")
        write_frame(target, msgspec.msgpack.encode(said))
    worker.close()
    os._exit(0)  # threads of some libraries never end


if __name__ == "__main__":
    main()

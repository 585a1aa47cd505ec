"""An index built, and opened again in a fresh process: seconds, and the memory and disk it takes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import psutil

from paceline.vectors.bench.contestant import Contestant, Setup
from paceline.vectors.bench.corpus import Corpus
from paceline.vectors.bench.measure_search import affordable
from paceline.vectors.bench.report import Build, Size
from paceline.vectors.bench.roster import Entry

BUILT: Final = "built.json"
INDEX: Final = "index"
_WARMED_WITH: Final = 1_024


def build(entry: Entry, setup: Setup, corpus: Corpus) -> Build:
    """Index all vectors into the folder of `setup`."""
    contestant = entry.made(setup)
    vectors = np.array(corpus.vectors)
    started_at = time.perf_counter()
    contestant.build(vectors)
    seconds = time.perf_counter() - started_at
    contestant.close()
    return Build(seconds, setup.threads, len(vectors) / seconds)


def warm(entry: Entry, setup: Setup, corpus: Corpus) -> None:
    """Use another, small index of the same kind: what a library loads and compiles once is not the index's."""
    with tempfile.TemporaryDirectory(prefix="paceline-bench-") as folder:
        small = entry.made(msgspec.structs.replace(setup, folder=folder))
        small.build(np.array(corpus.vectors[:_WARMED_WITH]))
        small.set_effort(64)
        small.search(np.array(corpus.queries[:8]), corpus.shape.k)
        small.search(np.array(corpus.queries[:1]), corpus.shape.k)
        small.close()


def opened(entry: Entry, setup: Setup, corpus: Corpus, effort: int, most_s: float) -> tuple[Contestant, Size]:
    """The index opened and searched once by every query, or as many as `most_s` seconds allow, and what that took."""
    warm(entry, setup, corpus)
    queries = np.array(corpus.queries)
    before = _resident()
    contestant = entry.made(setup)
    contestant.open()
    contestant.set_effort(effort)
    k = corpus.shape.k
    contestant.search(queries[: affordable(contestant, queries, k, most_s)], k)
    grown = _resident() - before
    count, held = len(corpus.vectors), contestant.held_bytes()
    disk = sum(file.stat().st_size for file in Path(setup.folder).rglob("*") if file.is_file())
    size = Size(
        contestant.index,
        contestant.unchangeable,
        None if held is None else held / count,
        grown / count,
        disk / count,
    )
    return contestant, size


def _resident() -> int:
    """Bytes of this process and its children."""
    me = psutil.Process()
    return sum(process.memory_info().rss for process in (me, *me.children(recursive=True)))

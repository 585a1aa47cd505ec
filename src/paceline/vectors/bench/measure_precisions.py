"""Our graph on codes of every precision: recall, speed and bytes of each, on the graph of a collection that was built."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from paceline.base.errors import PacelineError
from paceline.vectors.bench.contestant import Ints
from paceline.vectors.bench.contestants.ours import FOLDER
from paceline.vectors.bench.corpus import Corpus
from paceline.vectors.bench.one_core import one_core
from paceline.vectors.bench.report import Point, Precision
from paceline.vectors.codes import PRECISIONS, Coded, Coder
from paceline.vectors.codes import Precision as CodePrecision
from paceline.vectors.exact import recall
from paceline.vectors.files import Files
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.metric import Floats
from paceline.vectors.segment import Segment

EFFORTS: Final = (32, 64, 100, 200)
_LEARNED_FROM: Final = 16_384
_RESCORED: Final[dict[str, CodePrecision]] = {"int8": "fp16", "binary": "fp16"}


def measure_precisions(index: Path, corpus: Corpus) -> Iterator[Precision]:
    """One at a time, from the finest on; `index` is the folder of ours, closed."""
    segment = _only_segment(Files.open(index / FOLDER), len(corpus.vectors))
    order = np.array([int(segment.key_of(row)[1]) for row in range(len(segment))], np.int32)
    vectors = corpus.vectors[order]
    for precision in PRECISIONS:
        yield _measured(segment, vectors, order, corpus, precision)


def _only_segment(files: Files, count: int) -> Segment:
    sources = [part.source for part in files.segments()]
    if len(sources) == 1 and isinstance(sources[0], Segment) and len(sources[0]) == count:
        return sources[0]
    raise PacelineError(
        f"{files.folder} has {len(sources)} segments; precisions are compared on one graph over all vectors"
    )


def _measured(
    segment: Segment, vectors: Floats, order: Ints, corpus: Corpus, precision: CodePrecision
) -> Precision:
    graph = segment.graph
    if graph is None:
        raise PacelineError(
            f"{len(segment):,} vectors are scanned, without a graph; precisions are compared on one"
        )
    rescored = _RESCORED.get(precision)
    sample = vectors[:: max(1, len(vectors) // _LEARNED_FROM)]
    coded = Coded.of(Coder.learn(sample, precision, "cosine"), vectors)
    fine = Coded.of(Coder.learn(sample, rescored, "cosine"), vectors) if rescored else None
    search = GraphSearch(graph, coded, fine)
    return Precision(
        precision,
        rescored or "",
        coded.rows.nbytes / len(vectors),
        graph.held_bytes / len(vectors),
        [_point(search, order, corpus, effort) for effort in EFFORTS],
    )


def _point(search: GraphSearch, order: Ints, corpus: Corpus, effort: int) -> Point:
    queries, k = np.array(corpus.queries), corpus.shape.k
    with one_core():
        search.search(queries[:1], k, effort)
        started_at = time.perf_counter()
        found = search.search(queries, k, effort)[0]
        seconds = time.perf_counter() - started_at
        ends = [time.perf_counter()]
        for query in queries:
            search.search(query, k, effort)
            ends.append(time.perf_counter())
    milliseconds = np.diff(ends) * 1e3
    return Point(
        effort,
        recall(order[found], np.asarray(corpus.truth)),
        len(queries) / seconds,
        float(np.percentile(milliseconds, 50)),
        float(np.percentile(milliseconds, 99)),
    )

"""The graph and codes of one segment without a collection around them, kept in a folder: for benchmarks of the kernel."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from paceline.vectors.codes import Coded, Coder
from paceline.vectors.graph import Graph
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.growing import build_graph

K, M, EF_CONSTRUCTION = 10, 16, 200


class Ours:
    """int8 codes and the graph in memory; the fp16 copy that re-scores is a memory map."""

    def __init__(self, base: np.ndarray, folder: Path, precision: str = "int8") -> None:
        started = time.perf_counter()
        kept = folder / "ours.npz"
        if kept.exists():
            parts = np.load(kept)
            graph = Graph(
                parts["base"], parts["upper"], parts["upper_at"], int(parts["entry"]), int(parts["levels"])
            )
        else:
            graph = build_graph(base, m=M, ef_construction=EF_CONSTRUCTION)
        self.build_s = time.perf_counter() - started
        if not kept.exists():
            np.savez(
                kept,
                base=graph.base,
                upper=graph.upper,
                upper_at=graph.upper_at,
                entry=graph.entry,
                levels=graph.levels,
            )
        coded = Coded.of(Coder.learn(base[:20_000], precision), base)
        fine = Coder.learn(base[:1], "fp16")
        np.save(folder / "fp16.npy", fine.encode(base))
        self.index = GraphSearch(graph, coded, Coded(fine, np.load(folder / "fp16.npy", mmap_mode="r")))
        self.bytes = (coded.rows.nbytes + graph.held_bytes) / len(base)

    def search(self, queries: np.ndarray, ef: int) -> np.ndarray:
        return self.index.search(queries, K, ef)[0]

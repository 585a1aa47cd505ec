"""Queries a second at equal recall beside hnswlib, faiss and usearch, one thread, in turns.

`python benchmarks/vectors_search.py --folder FOLDER` with the base.npy and query.npy of vectors_data.py, or `--clustered
100000`. Indexes are built on all cores with M=16 and ef_construction=200; they and each ef are kept in
the folder. Each contestant gets the
smallest ef that reaches each recall@10; rounds of all alternate, median and spread are printed, and recall is that of the
results timed. Contestants that are not installed are left out (`pip install faiss-cpu hnswlib usearch`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from vectors_data import clustered

from paceline.vectors.bitmap import bitmap_of
from paceline.vectors.codes import Coded, Coder
from paceline.vectors.compiled.instructions import BYTES_STEP
from paceline.vectors.exact import nearest, recall
from paceline.vectors.graph import Graph
from paceline.vectors.graph_search import GraphSearch

K, M, EF_CONSTRUCTION = 10, 16, 200
EFS = [
    10,
    12,
    14,
    16,
    20,
    24,
    28,
    32,
    36,
    40,
    44,
    48,
    52,
    56,
    60,
    64,
    72,
    80,
    88,
    96,
    112,
    128,
    160,
    192,
    256,
    320,
    512,
    800,
    1200,
    1600,
]
Search = Callable[[np.ndarray, int], np.ndarray]


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
            graph = Graph.build(base, m=M, ef_construction=EF_CONSTRUCTION)
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


class Faiss:
    """IndexHNSW on float32, or on its scalar quantizer."""

    def __init__(self, base: np.ndarray, folder: Path, kind: str) -> None:
        import faiss

        code_bytes = {"flat": 4, "sq8": 1, "bf16": 2}[kind] * base.shape[1]
        path = folder / f"faiss-{kind}.index"
        started = time.perf_counter()
        if path.exists():
            self.index = faiss.read_index(str(path))
        else:
            metric = faiss.METRIC_INNER_PRODUCT
            quantizer = {"sq8": faiss.ScalarQuantizer.QT_8bit, "bf16": faiss.ScalarQuantizer.QT_bf16}.get(
                kind
            )
            self.index = (
                faiss.IndexHNSWFlat(base.shape[1], M, metric)
                if quantizer is None
                else faiss.IndexHNSWSQ(base.shape[1], quantizer, M, metric)
            )
            self.index.hnsw.efConstruction = EF_CONSTRUCTION
            faiss.omp_set_num_threads(os.cpu_count() or 1)
            self.index.train(base[:50_000])
            self.index.add(base)
        self.build_s = time.perf_counter() - started
        if not path.exists():
            faiss.write_index(self.index, str(path))
        faiss.omp_set_num_threads(1)
        self.bytes = code_bytes + 4 * faiss.vector_to_array(self.index.hnsw.neighbors).size / len(base)

    def search(self, queries: np.ndarray, ef: int) -> np.ndarray:
        self.index.hnsw.efSearch = ef
        return self.index.search(queries, K)[1]


class Hnswlib:
    """hnswlib on float32, its only kind."""

    def __init__(self, base: np.ndarray, folder: Path) -> None:
        import hnswlib

        path = folder / "hnswlib.index"
        self.index = hnswlib.Index("ip", base.shape[1])
        started = time.perf_counter()
        if path.exists():
            self.index.load_index(str(path))
        else:
            self.index.init_index(len(base), M=M, ef_construction=EF_CONSTRUCTION)
            self.index.add_items(base)
        self.build_s = time.perf_counter() - started
        if not path.exists():
            self.index.save_index(str(path))
        self.bytes = path.stat().st_size / len(base)

    def search(self, queries: np.ndarray, ef: int) -> np.ndarray:
        self.index.set_ef(ef)
        return self.index.knn_query(queries, K, num_threads=1)[0]


class Usearch:
    """usearch on one of its number types."""

    def __init__(self, base: np.ndarray, folder: Path, kind: str) -> None:
        from usearch.index import Index

        path = folder / f"usearch-{kind}.index"
        started = time.perf_counter()
        if path.exists():
            self.index = Index.restore(path)
        else:
            self.index = Index(
                ndim=base.shape[1], metric="ip", dtype=kind, connectivity=M, expansion_add=EF_CONSTRUCTION
            )
            self.index.add(np.arange(len(base)), base, threads=os.cpu_count() or 1)
        self.build_s = time.perf_counter() - started
        if not path.exists():
            self.index.save(path)
        self.bytes = path.stat().st_size / len(base)

    def search(self, queries: np.ndarray, ef: int) -> np.ndarray:
        self.index.expansion_search = ef
        return self.index.search(queries, K, threads=1).keys


CONTESTANTS: dict[str, tuple[str, Callable[[np.ndarray, Path], Ours | Faiss | Hnswlib | Usearch]]] = {
    "paceline int8": ("numba", Ours),
    "hnswlib": ("hnswlib", Hnswlib),
    "faiss flat": ("faiss", lambda base, folder: Faiss(base, folder, "flat")),
    "faiss sq8": ("faiss", lambda base, folder: Faiss(base, folder, "sq8")),
    "faiss bf16": ("faiss", lambda base, folder: Faiss(base, folder, "bf16")),
    "usearch f32": ("usearch", lambda base, folder: Usearch(base, folder, "f32")),
    "usearch bf16": ("usearch", lambda base, folder: Usearch(base, folder, "bf16")),
    "usearch i8": ("usearch", lambda base, folder: Usearch(base, folder, "i8")),
}


def smallest_ef(search: Search, queries: np.ndarray, truth: np.ndarray, wanted: float) -> int | None:
    """The least of EFS with this recall, by halving; None if the largest has not."""
    low, high = 0, len(EFS)
    while low < high:
        middle = (low + high) // 2
        if recall(search(queries, EFS[middle]).astype(np.int32), truth) >= wanted:
            high = middle
        else:
            low = middle + 1
    return EFS[low] if low < len(EFS) else None


def in_turns(runs: dict[str, Callable[[], object]], queries: int, rounds: int) -> dict[str, list[float]]:
    """Queries a second of each run in each round, the order reversed every other round."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name in sorted(runs, reverse=number % 2 == 1):
            started = time.perf_counter()
            runs[name]()
            if number:  # the first round warms
                rates[name].append(queries / (time.perf_counter() - started))
    return rates


def line(name: str, rates: list[float], note: str) -> dict[str, object]:
    middle = statistics.median(rates)
    print(f"  {name:16}{middle:10,.0f} /s  ({min(rates):,.0f} to {max(rates):,.0f})  {note}", flush=True)
    return {"name": name, "median": middle, "min": min(rates), "max": max(rates), "note": note}


def filtered(ours: Ours, base: np.ndarray, queries: np.ndarray, rounds: int) -> list[dict[str, object]]:
    """Random shares, and an attribute that follows the vectors: those nearest to one of them."""
    draw = np.random.default_rng(7)
    masks = {f"random {share:.1%}": draw.random(len(base)) < share for share in (0.001, 0.01, 0.1, 0.5)}
    near = base @ base[17]
    masks["clustered 7 %"] = near > np.quantile(near, 0.93)
    runs, notes = {"unfiltered": lambda: ours.index.search(queries, K, 64)}, {"unfiltered": "ef 64"}
    for name, mask in masks.items():
        rows, bitmap = np.flatnonzero(mask), bitmap_of(mask)
        truth = rows[nearest(queries, base[rows], K)[0]]
        found = [recall(ours.index.search(queries, K, ef, allowed=bitmap)[0], truth) for ef in EFS]
        ef = next(
            (ef for ef, reached in zip(EFS, found, strict=True) if reached >= 0.99 and ef >= 64), EFS[-1]
        )
        runs[name] = lambda bitmap=bitmap, ef=ef: ours.index.search(queries, K, ef, allowed=bitmap)
        notes[name] = f"ef {ef}, recall {found[EFS.index(ef)]:.4f}"
    rates = in_turns(runs, len(queries), rounds)
    print("filtered, one thread")
    return [line(name, rates[name], notes[name]) for name in runs]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--clustered", type=int, default=0)
    arguments.add_argument("--flat", action="store_true", help="Clusters without topics: the hard case.")
    arguments.add_argument("--recall", type=float, nargs="+", default=[0.97, 0.99])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--only", nargs="*", default=list(CONTESTANTS))
    arguments.add_argument("--build-only", action="store_true", help="Build, find each ef, time nothing.")
    arguments.add_argument("--json", type=Path)
    asked = arguments.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.clustered:
        base, queries = clustered(asked.clustered, flat=asked.flat)
    else:
        base, queries = np.load(asked.folder / "base.npy"), np.load(asked.folder / "query.npy")
    stored = asked.folder / "truth.npy"
    truth = np.load(stored) if stored.exists() else nearest(queries, base, K)[0]
    np.save(stored, truth)
    report: dict[str, object] = {"host": platform.node(), "vectors": base.shape, "bytes_step": BYTES_STEP}
    ready = {}
    for name in asked.only:
        library, make = CONTESTANTS[name]
        if find_spec(library) is not None:
            ready[name] = make(base, asked.folder)
            print(
                f"{name:16} ready in {ready[name].build_s:6.1f} s, {ready[name].bytes:,.0f} bytes a vector",
                flush=True,
            )
            report[name] = {"ready_s": ready[name].build_s, "bytes": ready[name].bytes}
    kept = asked.folder / "ef.json"
    chosen = json.loads(kept.read_text()) if kept.exists() else {}
    for wanted in asked.recall:
        for name, one in ready.items():
            if f"{name} {wanted}" not in chosen:
                chosen[f"{name} {wanted}"] = smallest_ef(one.search, queries, truth, wanted)
        kept.write_text(json.dumps(chosen))
        efs = {name: chosen[f"{name} {wanted}"] for name in ready}
        if asked.build_only:
            continue
        runs = {
            name: (lambda name=name, ef=ef: ready[name].search(queries, ef))
            for name, ef in efs.items()
            if ef is not None
        }
        rates = in_turns(runs, len(queries), asked.rounds)
        print(f"recall@{K} >= {wanted}, one thread, {len(base):,} vectors")
        report[f"recall {wanted}"] = [line(name, rates[name], f"ef {efs[name]}") for name in runs]
        for name in set(ready) - set(runs):
            print(f"  {name:16} never reaches it")
    if "paceline int8" in ready and not asked.build_only:
        report["filtered"] = filtered(ready["paceline int8"], base, queries, asked.rounds)
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

"""Filtered search beside unfiltered: recall@10 and queries a second at every selectivity, one thread.

`python benchmarks/vectors_filter.py --folder FOLDER` with the base.npy and query.npy of vectors_data.py. Filters pass a
random share, or what is nearest to one vector, as an attribute that follows the meaning does. Three rows each: our
planner, the control (the kernel's own rule, without costs or memory), and faiss's HNSW with the same filter if it is
installed. Queries come one by one, as users' do, and all in one call. Rounds alternate; recall is that of the results
timed, against brute force on float32.
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
from vectors_graph import Ours

from paceline.vectors.bitmap import bitmap_of
from paceline.vectors.exact import nearest, recall
from paceline.vectors.planner import Planner

K = 10
SHARES = (0.001, 0.01, 0.1, 0.5)
CLUSTERED = 0.07


def masks_of(base: np.ndarray) -> dict[str, np.ndarray]:
    """Which rows pass, by the name of the filter."""
    draw = np.random.default_rng(7)
    masks = {f"random {share:.1%}": draw.random(len(base)) < share for share in SHARES}
    for row in (17, 4711):
        near = base @ base[row]
        masks[f"clustered {CLUSTERED:.0%}, row {row}"] = near > np.quantile(near, 1 - CLUSTERED)
    near = base @ base[17]
    masks["clustered 50%, row 17"] = near > np.quantile(near, 0.5)
    return masks


def faiss_search(mask: np.ndarray, ef: int, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """faiss's HNSW on its own bytes, filtered by a bitmap."""
    import faiss

    index = faiss.read_index(str(folder / "faiss-sq8.index"))
    chosen = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
    options = faiss.SearchParametersHNSW(efSearch=ef, sel=chosen)
    faiss.omp_set_num_threads(1)
    return lambda queries: index.search(queries, K, params=options)[1]


def timed(searches: dict[str, Callable[[], np.ndarray]], queries: int, rounds: int) -> dict[str, list[float]]:
    """Queries a second in each round; the first warms and is left out."""
    rates: dict[str, list[float]] = {name: [] for name in searches}
    for number in range(rounds + 1):
        for name in sorted(searches, reverse=number % 2 == 1):
            started = time.perf_counter()
            searches[name]()
            if number:
                rates[name].append(queries / (time.perf_counter() - started))
    return rates


def one_by_one(search: Callable[[np.ndarray], np.ndarray], queries: np.ndarray) -> np.ndarray:
    return np.concatenate([search(query[None]) for query in queries])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--ef", type=int, default=100)
    arguments.add_argument("--queries", type=int, default=500)
    arguments.add_argument("--rounds", type=int, default=3)
    asked = arguments.parse_args()
    base = np.load(asked.folder / "base.npy")
    queries = np.load(asked.folder / "query.npy")[: asked.queries]
    search, ef = Ours(base, asked.folder).index, asked.ef
    planner = Planner(search)
    print(f"{len(base)} vectors, {len(queries)} queries, ef {ef}, {platform.processor()}, {planner.costs}")
    truth = nearest(queries, base, K)[0]
    plain = {
        "alone": lambda: one_by_one(lambda some: search.search(some, K, ef)[0], queries),
        "together": lambda: search.search(queries, K, ef)[0],
    }
    rates = timed(plain, len(queries), asked.rounds)
    unfiltered = {name: statistics.median(rates[name]) for name in plain}
    print(
        f"unfiltered  recall {recall(plain['together'](), truth):.4f}  alone {unfiltered['alone']:,.0f} /s  "
        f"together {unfiltered['together']:,.0f} /s"
    )
    report = [{"filter": "none", "rates": rates}]
    for name, mask in masks_of(base).items():
        rows, bitmap = np.flatnonzero(mask), bitmap_of(mask)
        truth = rows[nearest(queries, base[rows], K)[0]].astype(np.int32)

        def planned(some: np.ndarray, bitmap: np.ndarray = bitmap) -> np.ndarray:
            return planner.search(some, K, ef, allowed=bitmap)[0]

        def kernel(some: np.ndarray, bitmap: np.ndarray = bitmap) -> np.ndarray:
            return search.search(some, K, ef, allowed=bitmap)[0]

        ways = {"paceline": planned, "control": kernel}
        if find_spec("faiss") and (asked.folder / "faiss-sq8.index").exists():
            ways["faiss sq8"] = faiss_search(mask, ef, asked.folder)
        one_by_one(planned, queries)  # what the planner learns of a filter
        searches: dict[str, Callable[[], np.ndarray]] = {}
        for way, run in ways.items():
            searches[f"{way}, alone"] = lambda run=run: one_by_one(run, queries)
            searches[f"{way}, together"] = lambda run=run: run(queries)
        found = {key: recall(run().astype(np.int32), truth) for key, run in searches.items()}
        rates = timed(searches, len(queries), asked.rounds)
        print(f"{name}: {mask.sum()} rows")
        for key in searches:
            middle = statistics.median(rates[key])
            ratio = middle / unfiltered[key.rpartition(", ")[2]]
            print(
                f"    {key:20} recall {found[key]:.4f}  {middle:9,.0f} /s  {ratio:5.2f}x unfiltered  "
                f"({min(rates[key]):,.0f} to {max(rates[key]):,.0f})",
                flush=True,
            )
        report.append({"filter": name, "rows": int(mask.sum()), "recall": found, "rates": rates})
    text = json.dumps({"ef": ef, "cores": os.cpu_count(), "runs": report}, indent=1)
    (asked.folder / "filter.json").write_text(text)


if __name__ == "__main__":
    main()

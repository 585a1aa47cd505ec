"""Compute seconds saved by the cost-aware memory tier, against LRU with equal bytes.

    python benchmarks/cache_eviction.py [--requests 150000] [--seeds 3] [--mib 2 8 16]

Control: `LruCache`, the plain twin, whose own overhead per entry (smaller) is counted too. `ceiling` is the best fixed
content for the whole trace, known beforehand: no policy can save more on a trace whose popularity stands still.
Traces are Zipf(0.7) over 50,000 items (90 MB as embeddings), each with a 16-byte key:

    embed       1.5 KB vectors; cost follows the text's length, 8..256 tokens log-uniform: 0.03 ms + 0.08 ms a token,
                as measured for all-MiniLM-L6-v2 in bf16 on two cores (a factor of 30)
    even        the same with one cost for all
    answers     generated text: 16..1024 tokens of 4.3 bytes at 30 tokens/s, after a prompt of 16..4096 at 500 tokens/s
    both        `embed` and `answers`, half of the requests each, in one cache
    slide       `embed` whose popularity slides: every 20 requests a new item becomes the most popular
    jump        `embed` whose popularity is dealt anew every eighth of the trace
    jump even   the same with one cost for all: recency is all there is to know
    news even   one cost for all, an item's popularity depends on its age, a new item every 10 requests
    scan        `embed`, and every second request asks for an item that never comes again
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import NamedTuple

import numpy as np

from paceline.flow.cache.l1 import ENTRY_BYTES, CostCache
from paceline.flow.cache.lru import LruCache

ITEMS = 50_000
VECTOR_BYTES = 1536
DRIFTING = ("slide", "jump", "jump even", "news even")
SHAPES = ("embed", "even", "answers", "both", *DRIFTING, "scan")


class Trace(NamedTuple):
    items: np.ndarray
    """(requests,) which item is asked for."""
    cost_s: np.ndarray
    """(items,) seconds to make it."""
    size_bytes: np.ndarray
    """(items,) length of its value."""


def log_uniform(rng: np.random.Generator, low: float, high: float, count: int) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def trace(shape: str, seed: int, requests: int) -> Trace:
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, ITEMS + 1) ** 0.7
    rank = np.searchsorted(np.cumsum(weight) / weight.sum(), rng.random(requests)).clip(max=ITEMS - 1)
    when = np.arange(requests)
    named = rng.permutation(ITEMS)
    count = ITEMS
    items = named[rank]
    if shape == "slide":
        items = named[(rank + when // 20) % ITEMS]
    elif shape.startswith("jump"):
        deals = np.stack([rng.permutation(ITEMS) for _ in range(8)])
        items = deals[when * 8 // requests, rank]
    elif shape == "news even":
        items = (when // 10 - rank) % ITEMS
    elif shape == "scan":
        items = np.where(rng.random(requests) < 0.5, ITEMS + when, items)
        count += requests
    cost_s = 3e-5 + 8e-5 * log_uniform(rng, 8, 256, count)
    size_bytes = np.full(count, VECTOR_BYTES)
    if shape.endswith("even"):
        cost_s[:] = 5e-3
    if shape in ("answers", "both"):
        answers = np.ones(count, bool) if shape == "answers" else rng.random(count) < 0.5
        tokens = log_uniform(rng, 16, 1024, count)
        cost_s = np.where(answers, tokens / 30 + log_uniform(rng, 16, 4096, count) / 500, cost_s)
        size_bytes = np.where(answers, tokens * 4.3, size_bytes).astype(int)
    return Trace(items, cost_s, size_bytes)


def ceiling(trace: Trace, max_bytes: int) -> float:
    """Share of the seconds saved by the best fixed content; the first request of each item is never saved."""
    uses = np.bincount(trace.items, minlength=len(trace.cost_s))
    saved = np.maximum(uses - 1, 0) * trace.cost_s
    size = trace.size_bytes + 16 + ENTRY_BYTES
    order = np.argsort(-saved / size)
    fits = np.searchsorted(np.cumsum(size[order]), max_bytes, side="right")
    return float(saved[order][:fits].sum() / (uses * trace.cost_s).sum())


def replay(cache: CostCache | LruCache, trace: Trace) -> tuple[float, float, float]:
    """Share of the seconds saved, share of hits, CPU microseconds per request."""
    values = {size: bytes(size) for size in np.unique(trace.size_bytes).tolist()}
    keys = [int(item).to_bytes(16, "little") for item in range(len(trace.cost_s))]
    items, cost_s = trace.items.tolist(), trace.cost_s.tolist()
    value_of = [values[size] for size in trace.size_bytes.tolist()]
    get, put = cache.get, cache.put
    began = time.process_time()
    for item in items:
        key = keys[item]
        if get(key) is None:
            put(key, value_of[item], cost_s[item], 86400.0)
    spent_s = time.process_time() - began
    assert cache.bytes <= cache.max_bytes
    total_s = float(trace.cost_s[trace.items].sum())
    return cache.saved_s_total / total_s, cache.hits_total / len(items), spent_s / len(items) * 1e6


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--requests", type=int, default=150_000)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--mib", type=float, nargs="+", default=[2, 4, 8, 16])
    arguments.add_argument("--shapes", nargs="+", default=SHAPES, choices=SHAPES)
    chosen = arguments.parse_args()
    print(f"{chosen.requests} requests, seeds 1..{chosen.seeds}; median (min-max) of cost-aware over LRU\n")
    print(
        "| trace | MiB | saved, LRU | saved, cost-aware | ceiling | ratio | hits, LRU | hits, cost-aware | us LRU | us |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    drift_worst = float("inf")
    for shape in chosen.shapes:
        for mib in chosen.mib:
            max_bytes = int(mib * 2**20)
            rows = []
            for seed in range(1, chosen.seeds + 1):
                requests = trace(shape, seed, chosen.requests)
                lru = replay(LruCache(max_bytes), requests)
                cost = replay(CostCache(max_bytes), requests)
                rows.append((*lru, *cost, cost[0] / lru[0], ceiling(requests, max_bytes)))
            lru_saved, lru_hits, lru_us, saved, hits, us, ratio, best = (
                statistics.median(column) for column in zip(*rows, strict=True)
            )
            spread = [row[6] for row in rows]
            if shape in DRIFTING:
                drift_worst = min(drift_worst, *spread)
            print(
                f"| {shape} | {mib:g} | {lru_saved:.3f} | {saved:.3f} | {'' if shape in DRIFTING else f'{best:.3f}'} | "
                f"{ratio:.2f} ({min(spread):.2f}-{max(spread):.2f}) | {lru_hits:.3f} | {hits:.3f} | {lru_us:.1f} | {us:.1f} |",
                flush=True,
            )
    print(f"\nworst ratio under drift: {drift_worst:.2f}")


if __name__ == "__main__":
    main()

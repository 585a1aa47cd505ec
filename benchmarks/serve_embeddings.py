"""Served rate against the raw engine, by text length and concurrency.

    python benchmarks/serve_embeddings.py [--precision auto fp32 int8] [--seconds 8] [--rounds 3]

Raw is the same engine, layout and batch rules in a process of its own with nothing else to do: tokenise, sort by
length, run on every lane. Served is one text a request through HTTP, cache off, wrk on the same cores. Raw and served
alternate, so that a noisy minute hits both; ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from load import ROOT, bodies_of, machine, paceline_server, texts_of, wrk

CONCURRENCY = (1, 32, 64, 128, 256)

RAW = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
sys.path.insert(0, "benchmarks")
from load import texts_of
from paceline.app.model import find_folder
from paceline.app.parts import state_dir
from paceline.embed.engine import open_engine
from paceline.embed.tokens import Tokens
from paceline.settings import load

settings = load(sets=["embed.precision=" + sys.argv[1]]).settings
folder = find_folder(settings)
engine = open_engine(settings.embed, folder, state_dir=state_dir(settings))
tokens = Tokens(folder)
texts = texts_of(sys.argv[2], 4000)
seconds = float(sys.argv[3])
layout = engine.layout

def batches(ids):
    ids = sorted(ids, key=len)
    while ids:
        longest = -(-len(ids[-1]) // layout.bucket) * layout.bucket
        rows = max(1, min(32, layout.max_cost // longest))
        yield ids[-rows:]
        del ids[-rows:]

def chunk(start):
    ids = [t.ids for t in tokens.encode(texts[start:start + 256])]
    list(pool.map(engine.run, list(batches(ids))))
    return len(ids)

with ThreadPoolExecutor(engine.lanes) as pool:
    chunk(0)
    started_at, done, start = time.perf_counter(), 0, 256
    while time.perf_counter() - started_at < seconds:
        done += chunk(start % 3840)
        start += 256
    rate = done / (time.perf_counter() - started_at)
    alone = []
    for index in range(40):
        encoded_at = time.perf_counter()
        engine.run([tokens.encode([texts[index]])[0].ids])
        alone.append(time.perf_counter() - encoded_at)
alone.sort()
print(json.dumps({"rate": rate, "alone_ms": alone[len(alone) // 2] * 1e3, "layout": str(layout.streams) + "x" + str(layout.threads // layout.streams) + " " + layout.precision}))
"""


def raw(precision: str, shape: str, seconds: float) -> dict[str, float]:
    """Texts per second of the engine alone, and the milliseconds of one text alone."""
    command = [sys.executable, "-c", RAW, precision, shape, str(seconds)]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print one block a precision."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", nargs="+", default=["auto", "fp32", "int8"])
    parser.add_argument("--shape", nargs="+", default=["short", "mixed", "long"])
    parser.add_argument("--concurrency", nargs="+", type=int, default=list(CONCURRENCY))
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"{machine()}; {options.rounds} rounds of {options.seconds:g} s")
    results = {}
    for precision in options.precision:
        for shape in options.shape:
            bodies = bodies_of(texts_of(shape, 4000))
            raws, served = [], {connections: [] for connections in options.concurrency}
            for _ in range(options.rounds):
                raws.append(raw(precision, shape, options.seconds))
                with paceline_server(f"embed.precision={precision}", "cache.enabled=false") as server:
                    wrk(server.url, bodies, 32, 2)
                    for connections in options.concurrency:
                        served[connections].append(wrk(server.url, bodies, connections, options.seconds))
            rate = statistics.median(one["rate"] for one in raws)
            spread = max(one["rate"] for one in raws) / min(one["rate"] for one in raws) - 1
            alone_ms = statistics.median(one["alone_ms"] for one in raws)
            print(
                f"{precision} ({raws[0]['layout']}), {shape}: raw {rate:.0f} texts/s (spread {spread:.0%}), one alone {alone_ms:.2f} ms"
            )
            for connections, loads in served.items():
                median = statistics.median(load.rate for load in loads)
                p50 = statistics.median(load.p50_ms for load in loads)
                p99 = statistics.median(load.p99_ms for load in loads)
                failed = sum(load.failed for load in loads)
                low, high = min(load.rate for load in loads), max(load.rate for load in loads)
                print(
                    f"  {connections:4} callers: {median:7.1f}/s [{low:.0f}, {high:.0f}]  {median / rate:5.2f} of raw   "
                    f"p50 {p50:8.2f} ms  p99 {p99:8.2f} ms  failed {failed}",
                    flush=True,
                )
            results[f"{precision} {shape}"] = {
                "raw": raws,
                "served": {c: [vars(load) for load in loads] for c, loads in served.items()},
            }
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=1))


if __name__ == "__main__":
    main()

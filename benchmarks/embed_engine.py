"""Raw offline rate of the engine by precision, layout and shape: `python benchmarks/embed_engine.py [--onnx graph.onnx]`.

No server and no tokeniser: batches are formed by the server's own queue with 64 texts waiting, and run on all streams.
Rounds of all rows take turns and the best of each counts. `--onnx` adds the control: ONNX Runtime fp32 one text at a
time, one single-threaded call a core, on a graph that takes ids (1, tokens). Rates are texts per second by the wall
and, because the machine may be shared, per second of one core. The last table is a process from its start to its first
answer, with and without kept state, and its memory then.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from load import SHAPES, machine, texts_of

from paceline.embed.folder import open_folder
from paceline.embed.layout import Layout, stream_counts, usable_cores
from paceline.embed.openvino_engine import OpenVinoEngine
from paceline.embed.tokens import Tokens
from paceline.flow.batch_queue import BatchPolicy, BatchQueue
from paceline.flow.job import Job
from paceline.flow.run_time import RunTime

WAITING = 64
Ids = list[np.ndarray]

START = """
import sys, time
started_at = time.perf_counter()
from pathlib import Path
from paceline.embed.engine import open_engine
from paceline.embed.folder import open_folder
from paceline.embed.policy import EmbedPolicy
from paceline.embed.tokens import Tokens
folder = open_folder("demo")
tokens = Tokens(folder)
engine = open_engine(EmbedPolicy(precision=sys.argv[1]), folder, state_dir=Path(sys.argv[2]))
engine.run([tokens.encode(["a first text of the usual length"])[0].ids])
first_s = time.perf_counter() - started_at
memory = dict(line.split(":") for line in open("/proc/self/status") if line.startswith(("VmRSS", "VmHWM")))
rss, peak = (int(memory[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
print(f"{first_s:.2f} s to the first answer, {rss:.0f} MB then, {peak:.0f} MB at most; {engine.precision}, "
      f"{engine.layout.streams} streams, {engine.layout.max_cost} tokens")
"""


def batches_of(texts: Ids, max_cost: int) -> list[Ids]:
    """Batches as the server's queue forms them with `WAITING` texts in it."""
    queue = BatchQueue(BatchPolicy(max_cost=max_cost, bucket=8), RunTime(), lanes=1)
    left = [Job(ids, len(ids)) for ids in reversed(texts)]
    formed: list[Ids] = []
    now = 0.0
    while left or queue.depth:
        while left and queue.depth < WAITING:
            queue.put(left.pop(), now)
        batch = queue.take(now)
        if batch is None:  # the last few, for which it waits for company
            now += 1.0
            continue
        formed.append([job.payload for job in batch.jobs])
        queue.finished(batch, now)
    return formed


def onnx_control(graph: str, cores: int) -> Callable[[list[Ids]], None]:
    """One text a call, one single-threaded call a core: the fastest that ONNX Runtime is without batches."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pool = ThreadPoolExecutor(cores)

    def run(batches: list[Ids]) -> None:
        rows = [ids[None].astype(np.int64) for batch in batches for ids in batch]
        list(pool.map(lambda row: session.run(None, {name: row}), rows))

    return run


def engine_row(engine: OpenVinoEngine) -> Callable[[list[Ids]], None]:
    pool = ThreadPoolExecutor(engine.lanes)
    return lambda batches: list(pool.map(engine.run, batches)) and None


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--onnx", help="fp32 graph for the control row")
    arguments.add_argument("--texts", type=int, default=192)
    arguments.add_argument("--rounds", type=int, default=4)
    arguments.add_argument("--max-cost", type=int, default=512)
    asked = arguments.parse_args()
    folder = open_folder("demo")
    cores = usable_cores()
    tokens = Tokens(folder)
    shapes = {
        shape: batches_of([item.ids for item in tokens.encode(texts_of(shape, asked.texts))], asked.max_cost)
        for shape in SHAPES
    }
    shapes["long"] = shapes["long"][: max(4, len(shapes["long"]) // 4)]
    with tempfile.TemporaryDirectory() as state:
        rows = {
            f"{precision}, {streams} x {cores // streams}": engine_row(
                OpenVinoEngine(folder, Layout(streams, cores, asked.max_cost, 8, precision), Path(state))
            )
            for precision in ("fp32", "bf16", "int8")
            for streams in stream_counts(cores)
        }
        if asked.onnx:
            rows["onnxruntime fp32, one by one"] = onnx_control(asked.onnx, cores)
        best: dict[tuple[str, str], tuple[float, float]] = {}
        for turn in range(asked.rounds + 1):
            for shape, batches in shapes.items():
                for name, run in rows.items():
                    wall_at, cpu_at = time.perf_counter(), time.process_time()
                    run(batches)
                    taken = time.perf_counter() - wall_at, time.process_time() - cpu_at
                    if turn:  # the first compiles
                        seen = best.get((name, shape), taken)
                        best[name, shape] = min(seen[0], taken[0]), min(seen[1], taken[1])
        print(f"{machine()}; texts/s by the wall | per core-second")
        print(f"{'':34}" + "".join(f"{shape:>16}" for shape in shapes))
        for name in rows:
            cells = []
            for shape, batches in shapes.items():
                count = sum(map(len, batches))
                wall_s, cpu_s = best[name, shape]
                cells.append(f"{count / wall_s:8.0f} |{count / cpu_s:5.0f} ")
            print(f"{name:34}" + "".join(f"{cell:>16}" for cell in cells))
    for precision in ("auto", "fp32", "int8"):
        with tempfile.TemporaryDirectory() as state:
            for when in ("first start", "next start"):
                command = [sys.executable, "-c", START, precision, state]
                shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
                print(f"{precision}, {when}: {shown}")


if __name__ == "__main__":
    main()

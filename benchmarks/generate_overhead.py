"""What our engine costs beside the model: `python benchmarks/generate_overhead.py --models DIR [--json FILE]`.

- queue: 1,000 requests wait while as many decode as may; what a step takes besides the model's own part (scheduler,
  sampler, bookkeeping), and the part of the scheduler alone, in ms.
- cancel: eight streams decode; one is aborted; ms until its slot and its blocks are free, and whether they were.
- memory: resident bytes over 10,000 short requests, and weights plus keys and values as allocated beside what the formula
  says and what the process grew by. The pool is small enough that every block has been used after a fifth of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load import machine

from benchmarks.generate_models import SIZES
from benchmarks.generate_ours import PRECISIONS, Ours, Request
from benchmarks.peers.generate_contest import FIRST_WORD, prompts_of, rss_bytes, vocab_of
from paceline.generate.memory_formula import kv_block_bytes, weights_bytes
from paceline.generate.policy import KvPolicy

QUEUED, STEPS = 1000, 100
STREAMS, CANCELS = 8, 20
SHORT, SHORT_PROMPT, SHORT_TOKENS = 10_000, 16, 4
SMALL_KV_BYTES = 64 << 20
STORED_BYTES = 2
"""Of a number in the checkpoint: bf16."""


def queue(ours: Ours, vocab: int) -> dict[str, float]:
    """Steps of a full house while others wait."""
    engine = ours.engine
    scheduler = engine.scheduler
    plan_s: list[float] = []
    plan, clock = scheduler.plan, time.perf_counter

    def timed_plan(*arguments: Any) -> Any:
        started_at = clock()
        planned = plan(*arguments)
        plan_s.append(clock() - started_at)
        return planned

    running = ours.start(prompts_of(ours.policy.schedule.max_sequences, vocab, 1), 4 * STEPS)
    waiting = ours.start(prompts_of(QUEUED, vocab, 2), 1)
    _until(lambda: min(len(one.tokens) for one in running) > 8)
    scheduler.plan = timed_plan  # type: ignore[method-assign]
    first = engine.steps.steps
    _until(lambda: engine.steps.steps >= first + STEPS)
    _, steps = engine.steps.since(first)
    scheduler.plan = plan  # type: ignore[method-assign]
    waited = scheduler.waiting
    for one in (*running, *waiting):
        engine.abort(one.sequence)
    _until(lambda: engine.pool.held == 0)
    besides = steps["step_s"] - steps["run_s"]
    return {
        "waiting": waited,
        "decoding": int(np.median(steps["decoding"])),
        "steps": len(steps),
        "scheduler_ms": statistics.median(plan_s) * 1e3,
        "scheduler_p99_ms": float(np.quantile(plan_s, 0.99)) * 1e3,
        "besides_model_ms": float(np.median(besides)) * 1e3,
        "model_ms": float(np.median(steps["run_s"])) * 1e3,
    }


def cancel(ours: Ours, vocab: int) -> dict[str, float]:
    """From the call of `abort` until the engine's thread has freed all that the sequence held."""
    engine = ours.engine
    streams = ours.start(prompts_of(STREAMS, vocab, 3), 4000)
    _until(lambda: min(len(one.tokens) for one in streams) > 8)
    seconds = []
    for turn in range(CANCELS):
        victim = streams.pop(0)
        told, freed = threading.Event(), []

        def look(victim: Request = victim, told: threading.Event = told, freed: list[bool] = freed) -> None:
            freed.append(victim.sequence.status == "ended" and not victim.sequence.table)
            told.set()

        time.sleep(0.003 * turn)  # anywhere within a step
        started_at = time.perf_counter()
        engine.abort(victim.sequence)
        engine.between_steps(look)
        told.wait()
        seconds.append(time.perf_counter() - started_at)
        assert freed == [True], "the slot is still taken"
        (successor,) = ours.start(prompts_of(1, vocab, 100 + turn), 4000)
        _until(lambda successor=successor: successor.tokens)
        streams.append(successor)
    for one in streams:
        engine.abort(one.sequence)
    _until(lambda: engine.pool.held == 0)
    return {"cancels": CANCELS, "p50_ms": statistics.median(seconds) * 1e3, "most_ms": max(seconds) * 1e3}


def memory(ours: Ours, vocab: int, before_bytes: int) -> dict[str, float]:
    """The formula, what was allocated, what the process grew by, and that it stays."""
    runner, policy = ours.runner, ours.policy
    formula = {
        "weights": weights_bytes(runner.config, runner.precision, stored_bytes=STORED_BYTES),
        "kv": runner.blocks * kv_block_bytes(runner.config, runner.kv_precision),
    }
    draw = np.random.default_rng(4)
    marks = []
    at_once = policy.schedule.max_sequences
    for first in range(0, SHORT, at_once):
        count = min(at_once, SHORT - first)
        prompts = draw.integers(FIRST_WORD, vocab, (count, SHORT_PROMPT)).tolist()
        ours.generate(prompts, SHORT_TOKENS)
        marks.append(rss_bytes())
    settled = marks[len(marks) // 5]  # by then all code and buffers are in use
    return {
        "formula_weights_mb": formula["weights"] / 1e6,
        "formula_kv_mb": formula["kv"] / 1e6,
        "held_weights_mb": runner.memory.weights_bytes / 1e6,
        "held_kv_mb": runner.memory.kv_bytes / 1e6,
        "held_over_formula": (runner.memory.weights_bytes + runner.memory.kv_bytes) / sum(formula.values()),
        "process_grew_mb": (marks[-1] - before_bytes) / 1e6,
        "requests": SHORT,
        "after_a_fifth_mb": settled / 1e6,
        "at_the_end_mb": marks[-1] / 1e6,
        "drift_mb": (marks[-1] - settled) / 1e6,
    }


def _until(true: Any) -> None:
    while not true():
        time.sleep(0.001)


def main() -> None:
    """Print the three parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder made by generate_models.py")
    parser.add_argument("--size", choices=SIZES, default="15m")
    parser.add_argument("--precision", choices=PRECISIONS, default="int8")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    model = asked.models / asked.size
    vocab = vocab_of(model)
    before_bytes = rss_bytes()
    small = Ours(model, asked.precision, kv=KvPolicy(max_bytes=SMALL_KV_BYTES))
    found = {"memory": memory(small, vocab, before_bytes)}
    small.close()
    ours = Ours(model, asked.precision)
    ours.generate(prompts_of(8, vocab, 0), 8)
    found |= {"queue": queue(ours, vocab), "cancel": cancel(ours, vocab)}
    ours.close()
    print(f"{machine()}; {asked.size} {asked.precision}")
    for part, values in found.items():
        print(f"  {part}: " + ", ".join(f"{name} {value:g}" for name, value in values.items()))
    if asked.json:
        contents = {"machine": machine(), "size": asked.size, "precision": asked.precision}
        asked.json.write_text(json.dumps({**contents, **found}, indent=1))


if __name__ == "__main__":
    main()

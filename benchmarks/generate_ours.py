"""Our engine in the generation benchmark, and what the other benchmarks of it share.

    python benchmarks/generate_ours.py --model DIR/400m --precision int8 [--concurrency 1 8 32]

The engine is driven as the service drives it: in its own thread, by `submit` and `abort`, told of every step; without the
server, the tokeniser and the event loop around it, which the peers do without as well. Settings are the defaults.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers.generate_contest import THREADS, Output, Reading, compete, read, vocab_of
from paceline import __version__
from paceline.base.generation import Sampling
from paceline.generate.engine import Engine
from paceline.generate.open_runner import open_runner
from paceline.generate.policy import GeneratePolicy, KvPolicy
from paceline.generate.sampler import Row, Sampler
from paceline.generate.sequence import Delta, Sequence

PRECISIONS = ("int8", "bf16", "int4", "fp32")
KV_BYTES = 1 << 30
STATE = Path(os.environ.get("PACELINE_BENCH_STATE") or tempfile.gettempdir()) / "paceline-bench-state"
"""Packed weights and compiled code are kept here from one process to the next."""
GREEDY = Sampling(temperature=0.0)


class Request:
    """One request on its way through the engine, with the instant of every token."""

    def __init__(self, prompt: list[int], new_tokens: int) -> None:
        ids = np.array(prompt, dtype=np.int32)
        self.sequence = Sequence(
            ids, Row(GREEDY, 0, ids), self, max_tokens=new_tokens, arrived_at=time.monotonic()
        )
        self.tokens: list[int] = []
        self.times: list[float] = []
        """Of `time.perf_counter`, one a token."""
        self.ended = threading.Event()
        self.error: Exception | None = None

    def take(self, delta: Delta, now: float) -> None:
        self.tokens += delta.tokens
        self.times += [now] * len(delta.tokens)
        if delta.finish is not None:
            self.error = delta.error
            self.ended.set()

    def wait(self) -> None:
        self.ended.wait()
        if self.error is not None:
            raise self.error


class Ours:
    """An engine in its thread."""

    def __init__(self, model: Path, precision: str, **policy: Any) -> None:
        """`policy` replaces fields of `GeneratePolicy`."""
        asked = GeneratePolicy(
            model=str(model),
            precision=precision,
            threads=THREADS,
            device="cpu",
            kv=KvPolicy(max_bytes=KV_BYTES),
        )
        self.policy = msgspec.structs.replace(asked, **policy)
        STATE.mkdir(parents=True, exist_ok=True)
        self.runner = open_runner(self.policy, model, state_dir=STATE)
        sampler = Sampler(self.runner.config.vocab_size)
        sampler.warm_up()
        self.engine = Engine(
            self.runner, sampler, self.policy.schedule, _deliver, reuse_prefixes=self.policy.kv.prefix_cache
        )
        self.engine.start()
        self.versions = {"paceline": __version__}
        self.settings = {"threads": THREADS, **self.runner.describe()}

    def start(self, prompts: list[list[int]], new_tokens: int) -> list[Request]:
        requests = [Request(prompt, new_tokens) for prompt in prompts]
        self.engine.submit(*(request.sequence for request in requests))
        return requests

    def generate(self, prompts: list[list[int]], new_tokens: int) -> list[Output]:
        started_at = time.perf_counter()
        requests = self.start(prompts, new_tokens)
        for request in requests:
            request.wait()
        return [Output(request.tokens, request.times[0] - started_at) for request in requests]

    def close(self) -> None:
        self.engine.close()


def _deliver(out: list[tuple[Sequence, Delta]]) -> None:
    now = time.perf_counter()
    for sequence, delta in out:
        sequence.stream.take(delta, now)


def run_paceline(model: Path, precision: str, concurrency: int, seed: int = 1) -> Reading:
    """One reading of a fresh engine."""
    ours = Ours(model, precision)
    try:
        return read(ours, vocab_of(model), concurrency, seed)
    finally:
        ours.close()


if __name__ == "__main__":
    compete("paceline", Ours, PRECISIONS)

"""What every contestant of the generation benchmark does the same way; standard library and numpy only.

A contestant is a class with `versions`, `settings` and `generate`; `compete` makes a program of it. Alone it measures
each concurrency once and prints one line of JSON:

    python generate_llama_cpp.py --model DIR/400m --precision q8_0 [--concurrency 1 8 32]

With `--serve` it first prints who it is, then answers each line `{"concurrency": 8, "seed": 3}` with a `Reading`,
until its input ends: that is how `generate_throughput.py` lets contestants take turns without loading them anew.

A reading: all prompts (128 random ids each, no two alike, none seen before) are handed over at once, each is continued
greedily for 128 tokens whatever they are, and the rate is all generated tokens over the time until the last one, prompts
included. That is repeated with other prompts until a second is over. A short one of the same concurrency comes before
and is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

PROMPT_TOKENS = 128
NEW_TOKENS = 128
WARM_UP_TOKENS = 4
AT_LEAST_S = 1.0
THREADS = 2
POINTS = (1, 8, 32)
MOST_PREFILLED = 8
"""More prompts at once are not computed any faster, only longer."""
FIRST_WORD = 3
"""Ids below are special."""


@dataclass
class Output:
    """What one request got: its ids, and the second its first one came, counted from the common start."""

    tokens: list[int]
    first_s: float


class Contestant(Protocol):
    versions: dict[str, str]
    settings: dict[str, Any]

    def generate(self, prompts: list[list[int]], new_tokens: int) -> list[Output]:
        """All at once, greedy, end-of-sequence ignored; returns when the last one is complete."""


@dataclass(frozen=True)
class Reading:
    """One measurement at one concurrency. Rates are tokens per second, times seconds."""

    concurrency: int
    tokens_per_s: float
    wall_s: float
    first_p50_s: float
    """Time to first token, median over the requests."""
    prefill_tokens_per_s: float
    """Of the same number of prompts, eight at most, each continued by a single token."""
    rss_bytes: int
    others: float
    """Processor time of all other processes meanwhile, in cores: above a tenth the reading is disturbed."""
    firsts: list[int]
    """Each request's first token: engines of the same weights should agree about most."""


def prompts_of(count: int, vocab: int, seed: int) -> list[list[int]]:
    drawn = np.random.default_rng(seed).integers(FIRST_WORD, vocab, (count, PROMPT_TOKENS))
    return drawn.tolist()


def vocab_of(model: Path) -> int:
    return json.loads((model / "config.json").read_text())["vocab_size"]


def read(contestant: Contestant, vocab: int, concurrency: int, seed: int) -> Reading:
    seeds = np.random.SeedSequence([seed, concurrency])

    def fresh(count: int) -> list[list[int]]:
        return prompts_of(count, vocab, int(seeds.spawn(1)[0].generate_state(1)[0]))

    def repeated(count: int, new_tokens: int) -> tuple[float, list[Output]]:
        """Seconds a run, and the outputs of all runs."""
        runs: list[list[Output]] = []
        total_s = 0.0
        while total_s < AT_LEAST_S:
            prompts = fresh(count)
            started_at = time.perf_counter()
            outputs = contestant.generate(prompts, new_tokens)
            total_s += time.perf_counter() - started_at
            lengths = [len(output.tokens) for output in outputs]
            if lengths != [new_tokens] * count:
                raise RuntimeError(f"{count} requests for {new_tokens} tokens each got {lengths}")
            runs.append(outputs)
        return total_s / len(runs), [output for outputs in runs for output in outputs]

    contestant.generate(fresh(concurrency), WARM_UP_TOKENS)
    busy_before, started_at = _others_busy_s(), time.perf_counter()
    wall_s, outputs = repeated(concurrency, NEW_TOKENS)
    prefilled = min(concurrency, MOST_PREFILLED)
    prefill_s, _ = repeated(prefilled, 1)
    return Reading(
        concurrency=concurrency,
        tokens_per_s=concurrency * NEW_TOKENS / wall_s,
        wall_s=wall_s,
        first_p50_s=statistics.median(output.first_s for output in outputs),
        prefill_tokens_per_s=prefilled * PROMPT_TOKENS / prefill_s,
        rss_bytes=rss_bytes(),
        others=(_others_busy_s() - busy_before) / (time.perf_counter() - started_at),
        firsts=[output.tokens[0] for output in outputs[:concurrency]],
    )


def rss_bytes() -> int:
    """Of this process; Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _others_busy_s() -> float:
    """Processor seconds of this machine so far that were not ours; Linux."""
    fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def _own_output() -> TextIO:
    """The real standard output for us alone: what the engines print to it goes to standard error from now on."""
    ours = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return ours


def compete(
    name: str, open_contestant: Callable[[Path, str], Contestant], precisions: tuple[str, ...]
) -> None:
    """The program. `open_contestant` takes the model's folder and one of `precisions`."""
    parser = argparse.ArgumentParser(description=f"{name}: see generate_contest.py")
    parser.add_argument("--model", type=Path, required=True, help="folder made by generate_models.py")
    parser.add_argument("--precision", choices=precisions, default=precisions[0])
    parser.add_argument("--concurrency", type=int, nargs="+", default=POINTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", action="store_true", help="take orders from standard input")
    asked = parser.parse_args()
    out = _own_output()
    started_at = time.perf_counter()
    contestant = open_contestant(asked.model, asked.precision)
    vocab = vocab_of(asked.model)
    identity = {
        "engine": name,
        "model": asked.model.name,
        "precision": asked.precision,
        "versions": contestant.versions,
        "settings": contestant.settings,
        "start_s": time.perf_counter() - started_at,
    }
    if asked.serve:
        print(json.dumps(identity), file=out, flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            reading = read(contestant, vocab, order["concurrency"], order["seed"])
            print(json.dumps(asdict(reading)), file=out, flush=True)
    else:
        readings = [asdict(read(contestant, vocab, count, asked.seed)) for count in asked.concurrency]
        print(json.dumps(identity | {"readings": readings}), file=out, flush=True)

"""What a shared beginning saves: `python benchmarks/generate_prefix.py --models DIR [--size 400m] [--json FILE]`.

32 requests arrive at once, each with the same 1,000 tokens and 28 of its own, and ask for 8 tokens; one request with the
same beginning was answered before. Time to first token, median over the requests, with the prefix cache and without, in
turns; each round has a beginning of its own, so that only its own first request can have left it behind.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load import machine

from benchmarks.generate_models import SIZES
from benchmarks.generate_ours import PRECISIONS, Ours
from benchmarks.peers.generate_contest import FIRST_WORD, vocab_of
from paceline.generate.policy import KvPolicy

SHARED, OWN, NEW_TOKENS, REQUESTS = 1000, 28, 8, 32
KV_BYTES = 2 << 30


def first_token_s(ours: Ours, vocab: int, seed: int) -> tuple[float, list[int]]:
    """Median over the requests, and their first tokens."""
    draw = np.random.default_rng(seed)
    beginning = draw.integers(FIRST_WORD, vocab, SHARED).tolist()
    ends = draw.integers(FIRST_WORD, vocab, (REQUESTS + 1, OWN)).tolist()
    ours.generate([beginning + ends[-1]], 1)
    started_at = time.perf_counter()
    requests = ours.start([beginning + end for end in ends[:-1]], NEW_TOKENS)
    for request in requests:
        request.wait()
    return (
        statistics.median(request.times[0] - started_at for request in requests),
        [request.tokens[0] for request in requests],
    )


def main() -> None:
    """Print both medians and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder made by generate_models.py")
    parser.add_argument("--size", choices=SIZES, default="400m")
    parser.add_argument("--precision", choices=PRECISIONS, default="int8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    model = asked.models / asked.size
    vocab = vocab_of(model)
    engines = {
        name: Ours(model, asked.precision, kv=KvPolicy(max_bytes=KV_BYTES, prefix_cache=reuse))
        for name, reuse in (("without reuse", False), ("with reuse", True))
    }
    found: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(asked.rounds):
        firsts = []
        for name, ours in engines.items():
            seconds, tokens = first_token_s(ours, vocab, turn)
            found[name].append(seconds)
            firsts.append(tokens)
        assert firsts[0] == firsts[1], "reuse changed what was generated"
    for ours in engines.values():
        ours.close()
    medians = {name: statistics.median(values) for name, values in found.items()}
    print(
        f"{machine()}; {asked.size} {asked.precision}, {REQUESTS} requests, {SHARED} of {SHARED + OWN} tokens shared"
    )
    for name, values in found.items():
        print(
            f"  {name:14} first token p50 {medians[name] * 1e3:9.1f} ms "
            f"({min(values) * 1e3:.1f}-{max(values) * 1e3:.1f}, {asked.rounds} rounds)"
        )
    ratio = medians["without reuse"] / medians["with reuse"]
    print(f"  {ratio:.1f} times as soon; the same first tokens")
    if asked.json:
        contents = {"machine": machine(), "size": asked.size, "precision": asked.precision}
        asked.json.write_text(json.dumps({**contents, "first_p50_s": found, "ratio": ratio}, indent=1))


if __name__ == "__main__":
    main()

"""What a long prompt does to those who decode: `python benchmarks/generate_chunked.py --models DIR [--json FILE]`.

Eight streams decode; when each has 64 tokens, a prompt of 4,000 tokens arrives. The gaps between two tokens of a stream are
told apart by when they ended: before the prompt arrived, and from then until its first token. Chunks of it ride along in the
others' steps as far as `generate.schedule.slowdown` allows; the control lets it fill whole steps (slowdown 0).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load import machine

from benchmarks.generate_models import SIZES
from benchmarks.generate_ours import PRECISIONS, Ours, Request
from benchmarks.peers.generate_contest import FIRST_WORD, prompts_of, vocab_of
from paceline.generate.scheduler import SchedulePolicy

STREAMS, BEFORE, LONG, MOST = 8, 64, 4000, 1500


class Gaps(msgspec.Struct):
    """Seconds between two tokens of a stream, all streams together."""

    before: list[float]
    during: list[float]
    first_s: float
    """From the long prompt's arrival to its first token."""

    @property
    def ratio(self) -> float:
        return p99(self.during) / p99(self.before)


def p99(values: list[float]) -> float:
    return float(np.quantile(values, 0.99))


def gaps(ours: Ours, vocab: int, seed: int) -> Gaps:
    draw = np.random.default_rng(seed)
    streams = ours.start(prompts_of(STREAMS, vocab, seed), MOST)
    while min(len(stream.tokens) for stream in streams) < BEFORE:
        time.sleep(0.005)
    arrived_at = time.perf_counter()
    (late,) = ours.start([draw.integers(FIRST_WORD, vocab, LONG).tolist()], 1)
    late.wait()
    first_at = late.times[0]
    assert all(not stream.ended.is_set() for stream in streams), (
        "the streams ended before the long prompt was done"
    )
    for stream in streams:
        ours.engine.abort(stream.sequence)
    return Gaps(
        before=_between(streams, 0.0, arrived_at),
        during=_between(streams, arrived_at, first_at),
        first_s=first_at - arrived_at,
    )


def _between(streams: list[Request], begin: float, end: float) -> list[float]:
    found = []
    for stream in streams:
        # The first gaps belong to the prompts of the streams themselves.
        times = stream.times[8:]
        found += [later - earlier for earlier, later in pairwise(times) if begin < later <= end]
    return found


def main() -> None:
    """Print the gaps before and during, with chunks and without."""
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
    found: dict[str, list[Gaps]] = {}
    for name, schedule in (("chunked", SchedulePolicy()), ("whole steps", SchedulePolicy(slowdown=0.0))):
        ours = Ours(model, asked.precision, schedule=schedule)
        gaps(ours, vocab, 0)
        found[name] = [gaps(ours, vocab, turn + 1) for turn in range(asked.rounds)]
        ours.close()
    print(
        f"{machine()}; {asked.size} {asked.precision}: {STREAMS} streams, then a prompt of {LONG} tokens; medians of "
        f"{asked.rounds} rounds"
    )
    for name, rounds in found.items():
        before, during = (
            statistics.median(p99(getattr(one, when)) for one in rounds) * 1e3
            for when in ("before", "during")
        )
        ratios = [one.ratio for one in rounds]
        print(
            f"  {name:12} gap p99 {before:7.1f} ms before, {during:7.1f} ms during: {statistics.median(ratios):.2f} times "
            f"({min(ratios):.2f}-{max(ratios):.2f}); the long prompt's first token after "
            f"{statistics.median(one.first_s for one in rounds):.2f} s"
        )
    if asked.json:
        contents = {"machine": machine(), "size": asked.size, "precision": asked.precision}
        asked.json.write_text(json.dumps({**contents, "rounds": msgspec.to_builtins(found)}, indent=1))


if __name__ == "__main__":
    main()

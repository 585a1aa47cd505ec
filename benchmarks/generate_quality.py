"""What precision costs: the demo model on our engine, by precision of weights and of keys and values.

    python benchmarks/generate_quality.py [--count 50] [--json FILE]

Skills are the held-out problems of examples/demo_model, answered greedily; bits per byte are those of its held-out pages;
the rest compares the log-probabilities of those pages with fp32's, token by token.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from paceline.base.generation import Sampling
from paceline.generate.chat_template import ChatTemplate
from paceline.generate.demo_folder import demo_folder
from paceline.generate.engine import Engine
from paceline.generate.open_runner import open_runner
from paceline.generate.policy import GeneratePolicy, KvPolicy
from paceline.generate.sampler import Row, Sampler
from paceline.generate.scheduler import SchedulePolicy
from paceline.generate.sequence import Sequence
from paceline.generate.tokenizer import TextTokenizer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples" / "demo_model"))

SETTINGS = (
    ("fp32", "fp32", 0),
    ("bf16", "bf16", 0),
    ("bf16", "int8", 0),
    ("int8", "bf16", 0),
    ("int8", "int8", 0),
    ("int4", "bf16", 0),
    ("bf16", "bf16", 256),
)
"""Precision of weights, of keys and values, and window (tokens; 0: whole context)."""


class Bench:
    """An engine driven by hand, and what its sequences said."""

    def __init__(self, engine: str, weights: str, kv: str, window: int) -> None:
        folder = demo_folder()
        policy = GeneratePolicy(
            model="demo",
            engine=engine,
            precision=weights,
            kv=KvPolicy(max_bytes=1 << 27, precision=kv, window_tokens=window),
        )
        self.runner = open_runner(policy, folder, state_dir=Path(tempfile.gettempdir()) / "paceline-quality")
        self.tokenizer = TextTokenizer.open(folder, self.runner.config)
        self.template = ChatTemplate.open(folder, self.tokenizer.special.names)
        self.said: dict[Sequence, list[int]] = {}
        self.scored: dict[Sequence, list] = {}
        self.engine = Engine(
            self.runner, Sampler(self.runner.config.vocab_size), SchedulePolicy(slowdown=0), self._take
        )

    def _take(self, out) -> None:
        for sequence, delta in out:
            if delta.error is not None:
                raise delta.error
            self.said.setdefault(sequence, []).extend(delta.tokens)
            if delta.prompt_logprobs:
                self.scored[sequence] = delta.prompt_logprobs

    def run(self, prompts: list[np.ndarray], **options) -> list[Sequence]:
        made = []
        for prompt in prompts:
            row = Row(sampling=Sampling(temperature=0.0), seed=1, prompt=prompt)
            made.append(Sequence(prompt, row, None, **options))
        self.engine.submit(*made)
        while self.engine.step():
            pass
        return made


def marks(bench: Bench, count: int) -> dict[str, float]:
    """Part of each skill's held-out problems answered exactly."""
    from evaluate import exam
    from skills import SKILLS

    stops = frozenset(bench.tokenizer.special.eos)
    told = {}
    for skill in SKILLS:
        examples = exam(skill, count)
        prompts = []
        for example in examples:
            messages = []
            for turn in example.turns:
                messages += [
                    {"role": "user", "content": turn.question},
                    {"role": "assistant", "content": turn.answer},
                ]
            prompts.append(bench.tokenizer.encode(bench.template.render(messages[:-1]), add_special=False))
        made = bench.run(prompts, max_tokens=64, stop_ids=stops)
        right = [
            bench.tokenizer.decode(bench.said[one], continues=True) == example.turns[-1].answer
            for one, example in zip(made, examples, strict=True)
        ]
        told[skill.__name__] = sum(right) / len(right)
    return told


def pages(bench: Bench) -> tuple[np.ndarray, np.ndarray, int]:
    """Log-probability of each token of the held-out pages, the likeliest token at its place, and the pages' bytes."""
    from curriculum import pieces

    texts = pieces("test")
    prompts = [
        bench.tokenizer.encode(text, add_special=True)[: bench.engine.context_tokens - 1] for text in texts
    ]
    made = bench.run(prompts, max_tokens=1, score_from=1, score_top=1)
    told = [one for sequence in made for one in bench.scored[sequence]]
    logprobs = np.array([one.logprob for one in told])
    likeliest = np.array([one.top[0][0] for one in told])
    size = sum(len(bench.tokenizer.decode(prompt.tolist()).encode()) for prompt in prompts)
    return logprobs, likeliest, size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=50, help="problems of each skill")
    parser.add_argument("--engine", default="auto", choices=["auto", "compiled", "torch"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    exact: tuple[np.ndarray, np.ndarray] | None = None
    print(
        "| weights | keys and values | window | skills exact | bits per byte | log-probability moved by | same likeliest token |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for weights, kv, window in SETTINGS:
        bench = Bench(options.engine, weights, kv, window)
        told = marks(bench, options.count)
        logprobs, likeliest, size = pages(bench)
        if exact is None:
            exact = logprobs, likeliest
        row = {
            "weights": weights,
            "kv": kv,
            "window": window,
            "engine": bench.runner.describe()["name"],
            "skills": told,
            "mean": sum(told.values()) / len(told),
            "bits_per_byte": float(-logprobs.sum() / math.log(2) / size),
            "moved": float(np.abs(logprobs - exact[0]).mean()),
            "same": float((likeliest == exact[1]).mean()),
            "tokens": len(logprobs),
        }
        bench.engine.close()
        rows.append(row)
        print(
            f"| {weights} | {kv} | {window or 'whole'} | {row['mean']:.3f} | {row['bits_per_byte']:.4f} | "
            f"{row['moved']:.4f} | {row['same']:.2%} |",
            flush=True,
        )
    if options.json:
        options.json.write_text(
            json.dumps({"date": time.strftime("%Y-%m-%d"), "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()

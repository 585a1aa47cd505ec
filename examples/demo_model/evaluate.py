"""Marks of the demo model: each skill on held-out problems, and perplexity of held-out text, by precision of weights.

`python evaluate.py` prints the tables of the model card. Weights are rounded and multiplied out again, so what is
compared is the rounding alone; all arithmetic is float32.
"""

from __future__ import annotations

import argparse
import math
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from curriculum import draw, pieces
from skills import SKILLS, Example
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

BATCH = 50
GROUP = 32
"""Weights that share a scale in the grouped int4."""


def rounded(weights: Tensor, bits: int, group: int | None = None) -> Tensor:
    """Symmetric rounding of `weights` (outputs, inputs) with one scale for each output, or for each `group` inputs."""
    top = 2 ** (bits - 1) - 1
    blocks = weights.float().reshape(-1, group or weights.shape[1])
    scale = (blocks.abs().amax(dim=1, keepdim=True) / top).clamp(min=1e-12)
    return ((blocks / scale).round().clamp(-top - 1, top) * scale).reshape(weights.shape)


PRECISIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "bf16": None,
    "int8": lambda weights: rounded(weights, 8),
    "int6": lambda weights: rounded(weights, 6),
    f"int4, groups of {GROUP}": lambda weights: rounded(weights, 4, GROUP),
    "int4": lambda weights: rounded(weights, 4),
}
"""bf16 is what is shipped; the others round it, all matrices of the layers and not the embedding."""


def exam(skill: Callable[[random.Random], Example], count: int) -> list[Example]:
    """`count` different held-out examples, or fewer where there are no more."""
    rng = random.Random(f"exam/{skill.__name__}")
    found = {example.turns: example for example in (draw(skill, rng, "test") for _ in range(4 * count))}
    return list(found.values())[:count]


@torch.inference_mode()
def answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: list[Example]) -> list[str]:
    """Greedy answers to the last turns; the turns before are given with their right answers."""
    said = []
    for start in range(0, len(examples), BATCH):
        prompts = []
        for example in examples[start : start + BATCH]:
            messages = []
            for turn in example.turns:
                messages += [("user", turn.question), ("assistant", turn.answer)]
            rows = [{"role": role, "content": content} for role, content in messages[:-1]]
            prompts.append(tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=True))
        batch = tokenizer(
            prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        )
        batch.pop("token_type_ids", None)
        out = model.generate(**batch, max_new_tokens=64, do_sample=False)
        said += tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return said


@torch.inference_mode()
def bits_per_byte(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[float, float]:
    """Perplexity per token and bits per byte of the held-out pieces of the books, each read from its beginning."""
    nats, tokens, size = 0.0, 0, 0
    for piece in pieces("test"):
        ids = tokenizer(piece, return_tensors="pt")["input_ids"]  # (1, length), with <|bos|>
        logits = model(input_ids=ids).logits[0, :-1].float()
        nats += torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
        tokens += ids.shape[1] - 1
        size += len(piece.encode())
    return math.exp(nats / tokens), nats / math.log(2) / size


def main(folder: Path, count: int) -> None:
    """Prints both tables in Markdown."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    papers = {skill.__name__: exam(skill, count) for skill in SKILLS}
    columns: dict[str, dict[str, float]] = {}
    perplexities: dict[str, tuple[float, float]] = {}
    wrong: list[str] = []
    for name, rounding in PRECISIONS.items():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        if rounding is not None:
            for module in model.model.layers.modules():
                if isinstance(module, torch.nn.Linear):
                    module.weight.data = rounding(module.weight.data)
        columns[name] = {}
        for skill, examples in papers.items():
            said = answers(model, tokenizer, examples)
            right = [example.turns[-1].answer == text for example, text in zip(examples, said, strict=True)]
            columns[name][skill] = sum(right) / len(right)
            if rounding is None and not all(right):
                at = right.index(False)
                turn = examples[at].turns[-1]
                wrong.append(f"- {skill}: {turn.question} Right: {turn.answer} Said: {said[at]}")
        perplexities[name] = bits_per_byte(model, tokenizer)
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.processor() or platform.machine()}, torch {torch.__version__}\n"
    )
    print("| skill, part answered exactly | problems | " + " | ".join(columns) + " |")
    print("| --- | --- |" + " --- |" * len(columns))
    for skill, examples in papers.items():
        row = " | ".join(f"{marks[skill]:.3f}" for marks in columns.values())
        print(f"| {skill.replace('_', ' ')} | {len(examples)} | {row} |")
    means = " | ".join(f"{sum(marks.values()) / len(marks):.3f}" for marks in columns.values())
    print(f"| **mean** | {sum(map(len, papers.values()))} | {means} |")
    print(
        "| perplexity per token | | "
        + " | ".join(f"{per_token:.2f}" for per_token, _ in perplexities.values())
        + " |"
    )
    print("| bits per byte | | " + " | ".join(f"{bits:.3f}" for _, bits in perplexities.values()) + " |")
    print("\nThe first mistake of each skill in bf16:\n")
    print("\n".join(wrong))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--count", type=int, default=200, help="problems of each skill")
    options = parser.parse_args()
    main(options.model, options.count)

"""Marks of the demo model: each skill on held-out problems, and perplexity of held-out text, by precision of weights.

`python evaluate.py` prints the tables of the model card. Integer weights are rounded and multiplied out again, so what
is compared is the rounding alone.
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
LOSS_EXAMPLES = 20
GROUP = 32
"""Weights that share a scale in the grouped int4."""


def rounded(weights: Tensor, bits: int, group: int | None = None) -> Tensor:
    """Symmetric rounding of `weights` (outputs, inputs) with one scale for each output, or for each `group` inputs."""
    top = 2 ** (bits - 1) - 1
    blocks = weights.float().reshape(-1, group or weights.shape[1])
    scale = (blocks.abs().amax(dim=1, keepdim=True) / top).clamp(min=1e-12)
    return ((blocks / scale).round().clamp(-top - 1, top) * scale).reshape(weights.shape)


PRECISIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "fp32": None,
    "bf16": None,
    "int8": lambda weights: rounded(weights, 8),
    f"int4, groups of {GROUP}": lambda weights: rounded(weights, 4, GROUP),
    "int4": lambda weights: rounded(weights, 4),
    "int3": lambda weights: rounded(weights, 3),
}
"""The shipped bf16 weights with arithmetic in fp32 or bf16, or rounded further: all matrices but the embedding."""


def opened(folder: Path, precision: str) -> PreTrainedModel:
    """The model in one of the `PRECISIONS`."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    rounding = PRECISIONS[precision]
    if rounding is not None:
        for module in model.model.layers.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.data = rounding(module.weight.data)
    return model


def exam(skill: Callable[[random.Random], Example], count: int) -> list[Example]:
    """`count` different held-out examples, or fewer where there are no more."""
    rng = random.Random(f"exam/{skill.__name__}")
    found = {example.turns: example for example in (draw(skill, rng, "test") for _ in range(4 * count))}
    return list(found.values())[:count]


def prompt_of(tokenizer: PreTrainedTokenizerBase, example: Example) -> str:
    """The dialogue up to the last answer; earlier turns are given with their right answers."""
    rows = []
    for turn in example.turns:
        rows += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
    return tokenizer.apply_chat_template(rows[:-1], tokenize=False, add_generation_prompt=True)


@torch.inference_mode()
def answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: list[Example]) -> list[str]:
    """Greedy answers to the last turns."""
    said = []
    for start in range(0, len(examples), BATCH):
        prompts = [prompt_of(tokenizer, example) for example in examples[start : start + BATCH]]
        batch = tokenizer(
            prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        )
        out = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=64,
            do_sample=False,
        )
        said += tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return said


@torch.inference_mode()
def answer_loss(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: list[Example]) -> float:
    """Nats that the right answers cost, a mean over `examples`. It moves where exact marks do not yet."""
    nats = 0.0
    for example in examples:
        prompt = tokenizer(prompt_of(tokenizer, example), add_special_tokens=False)["input_ids"]
        answer = tokenizer(example.turns[-1].answer + tokenizer.eos_token, add_special_tokens=False)[
            "input_ids"
        ]
        ids = torch.tensor([prompt + answer])
        logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
        nats += torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum").item()
    return nats / len(examples)


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
    losses: dict[str, float] = {}
    wrong: list[str] = []
    for name in PRECISIONS:
        model = opened(folder, name)
        columns[name] = {}
        for skill, examples in papers.items():
            said = answers(model, tokenizer, examples)
            right = [example.turns[-1].answer == text for example, text in zip(examples, said, strict=True)]
            columns[name][skill] = sum(right) / len(right)
            if name == "fp32" and not all(right):
                at = right.index(False)
                turn = examples[at].turns[-1]
                wrong.append(f"- {skill}: {turn.question} Right: {turn.answer} Said: {said[at]}")
        losses[name] = answer_loss(
            model,
            tokenizer,
            [example for examples in papers.values() for example in examples[:LOSS_EXAMPLES]],
        )
        perplexities[name] = bits_per_byte(model, tokenizer)
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.processor() or platform.machine()}, torch {torch.__version__}\n"
    )
    print("| skill, part answered exactly | problems | " + " | ".join(columns) + " |")
    print("| --- | --- |" + " --- |" * len(columns))
    rows = [
        (skill.replace("_", " "), str(len(examples)), [f"{marks[skill]:.3f}" for marks in columns.values()])
        for skill, examples in papers.items()
    ]
    total = str(sum(map(len, papers.values())))
    rows += [
        ("**mean**", total, [f"{sum(marks.values()) / len(marks):.3f}" for marks in columns.values()]),
        ("nats for a right answer", f"{LOSS_EXAMPLES} each", [f"{loss:.4f}" for loss in losses.values()]),
        ("perplexity per token of books", "", [f"{per_token:.1f}" for per_token, _ in perplexities.values()]),
        ("bits per byte of books", "", [f"{bits:.3f}" for _, bits in perplexities.values()]),
    ]
    for name, problems, cells in rows:
        print(f"| {name} | {problems} | {' | '.join(cells)} |")
    print("\nThe first mistake of each skill in fp32:\n")
    print("\n".join(wrong))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--count", type=int, default=100, help="problems of each skill")
    options = parser.parse_args()
    main(options.model, options.count)

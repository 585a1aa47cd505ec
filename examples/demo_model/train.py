"""Trains the demo model: `python train.py` from nothing to a folder that `transformers` loads.

Seeded throughout: lessons depend on the seed and the step's number alone, so a run taken up again with `--resume`
goes on as if it had never stopped. Bits may differ between machines, since their sums are taken in other orders.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from beginning import begin_alike, wire
from curriculum import Part, chat, draw, lessons, pieces
from llama import Llama, Shape
from safetensors.torch import save_file
from skills import SKILLS
from tokenizers import Tokenizer
from tokens import BOS, EOS, IM_END, PAD, batch, encode, save_tokenizer, train_tokenizer
from torch import Tensor

TOKENS_PER_STEP = 4096
WARM_UP_STEPS = 100
DECAY_FROM = 0.3
"""The learning rate falls in a straight line to zero from this part of the run on; before, it is constant."""
LENGTHS = ((0.90, 256), (0.97, 512), (1.0, 1024))
"""Up to this part of the run, rows are so many tokens long: short ones first, which are cheaper."""
CHECK_STEPS = 100
CHECK_EXAMPLES = 30


def row_length(step: int, steps: int) -> int:
    """Tokens in a row at this step."""
    return next(length for until, length in LENGTHS if step < until * steps)


def learning_rate(step: int, steps: int) -> float:
    """Part of the full rate: warm-up, constant, straight down to zero."""
    falling = (steps - step) / (steps * (1 - DECAY_FROM))
    return min(1.0, (step + 1) / WARM_UP_STEPS, falling)


def optimizers(model: Llama) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the embedding and the norms."""
    matrices = [weights for weights in model.layers.parameters() if weights.ndim == 2]
    chosen = {id(weights) for weights in matrices}
    rest = [weights for weights in model.parameters() if id(weights) not in chosen]
    made = [
        torch.optim.Muon(matrices, lr=0.015, momentum=0.95, weight_decay=0.02),
        torch.optim.AdamW(rest, lr=0.003, betas=(0.9, 0.97), weight_decay=0.0),
    ]
    for optimizer in made:
        for group in optimizer.param_groups:
            group["full_lr"] = group["lr"]
    return made


def exam(tokenizer: Tokenizer) -> dict[str, tuple[Tensor, Tensor]]:
    """Held-out examples of each skill as ids and targets (examples, length); only the last answer counts."""
    papers = {}
    for skill in SKILLS:
        rng = random.Random(skill.__name__)
        rows = []
        for _ in range(CHECK_EXAMPLES):
            parts = chat(list(draw(skill, rng, "test").turns))
            last = max(number for number, part in enumerate(parts) if part.learnt)
            rows.append(
                encode(tokenizer, [Part(part.text, number == last) for number, part in enumerate(parts)])
            )
        length = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([ids + [PAD] * (length - len(ids)) for ids, _ in rows])
        targets = torch.tensor([learnt + [-1] * (length - len(learnt)) for _, learnt in rows])
        papers[skill.__name__] = (ids[:, :-1], targets[:, 1:])
    return papers


@torch.no_grad()
def grade(model: Llama, papers: dict[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Part of the held-out examples that are answered without a fault."""
    with torch.autocast("cpu", torch.bfloat16):
        return {name: model.right(*paper).float().mean().item() for name, paper in papers.items()}


def export(model: Llama, tokenizer: Tokenizer, folder: Path) -> None:
    """The folder as `transformers` writes it, weights in bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        f"model.{name}": value.detach().bfloat16().contiguous() for name, value in model.named_parameters()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    ends = {"bos_token_id": BOS, "eos_token_id": [IM_END, EOS], "pad_token_id": PAD}
    (folder / "config.json").write_text(json.dumps(model.config() | ends, indent=2) + "\n", "utf-8")
    generation = ends | {"do_sample": False, "max_new_tokens": 128}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", "utf-8")
    save_tokenizer(tokenizer, folder, model.shape.max_position_embeddings)


def train(options: argparse.Namespace) -> None:
    """The whole run; prints the held-out marks as it goes, and time and tokens at the end."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    model = Llama(Shape())
    tokenizer = train_tokenizer(model.shape.vocab_size, options.seed)
    wire(model)
    begin_alike(model, tokenizer)
    steering = optimizers(model)
    books, papers = pieces("train"), exam(tokenizer)
    start, cpu_before, wall_before = 0, 0.0, 0.0
    if options.resume:
        saved = torch.load(options.checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(steering, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        start, cpu_before, wall_before = saved["step"], saved["cpu_s"], saved["wall_s"]
    wall_start = time.monotonic()

    def spent() -> dict[str, float]:
        return {
            "cpu_s": cpu_before + time.process_time(),
            "wall_s": wall_before + time.monotonic() - wall_start,
        }

    parameters = sum(weights.numel() for weights in model.parameters())
    print(f"{parameters:,} parameters, {options.steps} steps of {TOKENS_PER_STEP} tokens", flush=True)
    mean_loss = 0.0
    end = min(options.steps, options.until or options.steps)
    for step in range(start, end):
        length = row_length(step, options.steps)
        source = lessons(random.Random(f"{options.seed}/{step}"), books)
        ids, targets = batch(tokenizer, source, TOKENS_PER_STEP // length, length)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.loss(ids, targets)
        loss.backward()
        for optimizer in steering:
            for group in optimizer.param_groups:
                group["lr"] = group["full_lr"] * learning_rate(step, options.steps)
            optimizer.step()
            optimizer.zero_grad()
        mean_loss += (loss.item() - mean_loss) * (0.05 if step > start else 1.0)
        if (step + 1) % CHECK_STEPS == 0 or step + 1 == end:
            marks = grade(model, papers)
            state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in steering]}
            torch.save(state | {"step": step + 1} | spent(), options.checkpoint)
            export(model, tokenizer, options.output)
            clock = "{wall_s:.0f} s wall, {cpu_s:.0f} s of CPU".format(**spent())
            print(
                f"step {step + 1}: loss {mean_loss:.3f}, mean mark {sum(marks.values()) / len(marks):.3f}, {clock}"
            )
            print("  " + ", ".join(f"{name} {mark:.2f}" for name, mark in marks.items()), flush=True)
    print(
        f"{end * TOKENS_PER_STEP / 1e6:.1f} M tokens; "
        "{wall_s:.0f} s of wall time, {cpu_s:.0f} s of CPU time".format(**spent())
        + f", which is {spent()['cpu_s'] / options.threads:.0f} s on {options.threads} quiet cores"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = Path(__file__).parent
    parser.add_argument("--steps", type=int, default=2400, help="of the whole run; the rate falls towards it")
    parser.add_argument("--until", type=int, help="stop after this step of them; --resume goes on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=here / "model", help="the model's folder")
    parser.add_argument(
        "--checkpoint", type=Path, default=here / "checkpoint.pt", help="for --resume; may be deleted"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    train(parser.parse_args())

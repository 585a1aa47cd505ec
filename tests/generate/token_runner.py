"""A runner whose keys and values are the tokens themselves: what it draws next is a hash of all it can see.

Blocks mixed up, freed too early, shared wrongly or filled late change the text, so an engine that gives the same text
as `spell` has kept its blocks in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.base.errors import EngineError, OutOfMemory
from paceline.generate.batch import Batch
from paceline.generate.config import ModelConfig
from paceline.generate.runner import BLOCK_TOKENS, Memory


def config(vocab: int = 97, context: int = 512) -> ModelConfig:
    return ModelConfig(
        architecture="LlamaForCausalLM",
        vocab_size=vocab,
        hidden_size=8,
        intermediate_size=8,
        layers=1,
        heads=1,
        kv_heads=1,
        head_dim=8,
        max_positions=context,
    )


def next_token(seen: np.ndarray, vocab: int) -> int:
    """What follows these tokens."""
    number = 1469598103934665603
    for token in seen.tolist():
        number = ((number ^ (token + 1)) * 1099511628211) & ((1 << 64) - 1)
    return (number >> 20) % vocab


def spell(prompt: list[int], count: int, vocab: int = 97) -> list[int]:
    """The text of `count` tokens that must follow a prompt."""
    seen = list(prompt)
    for _ in range(count):
        seen.append(next_token(np.array(seen), vocab))
    return seen[len(prompt) :]


class TokenRunner:
    """Keeps tokens in blocks, and looks at the last `sees` of them. `fail_next` makes one run raise; `nan_for` gives no numbers after that last token."""

    precision = "fp32"
    kv_precision = "fp32"

    def __init__(self, blocks: int = 64, vocab: int = 97, context: int = 512, sees: int = 1 << 30) -> None:
        self.sees = sees
        self.config = config(vocab, context)
        self.blocks = blocks
        self.memory = Memory(0, blocks * BLOCK_TOKENS * 4)
        self.kept = np.full((blocks, BLOCK_TOKENS), -1, dtype=np.int64)
        self.batches: list[Batch] = []
        self.fail_next: EngineError | None = None
        self.most_rows = 1 << 30
        self.nan_for: int | None = None
        self.closed = False

    def run(self, batch: Batch) -> np.ndarray:
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error
        if len(batch.tokens) > self.most_rows:
            raise OutOfMemory(f"{len(batch.tokens)} rows are more than {self.most_rows}")
        self.batches.append(batch)
        count = len(batch.starts) - 1
        for s in range(count):
            for row in range(batch.starts[s], batch.starts[s + 1]):
                position = int(batch.positions[row])
                assert position == batch.contexts[s] - (batch.starts[s + 1] - row)
                self.kept[batch.tables[s, position // BLOCK_TOKENS], position % BLOCK_TOKENS] = batch.tokens[
                    row
                ]
        logits = np.zeros((len(batch.wanted), self.config.vocab_size), dtype=np.float32)
        for place, row in enumerate(batch.wanted):
            s = int(np.searchsorted(batch.starts, row, side="right")) - 1
            position = int(batch.positions[row])
            blocks = batch.tables[s, : position // BLOCK_TOKENS + 1]
            seen = self.kept[blocks].reshape(-1)[: position + 1]
            logits[place, next_token(seen[-self.sees :], self.config.vocab_size)] = 5.0
            if batch.tokens[row] == self.nan_for:
                logits[place] = np.nan
        return logits

    def describe(self) -> dict[str, Any]:
        return {"name": "tokens"}

    def close(self) -> None:
        self.closed = True

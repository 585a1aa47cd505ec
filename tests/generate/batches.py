"""Batches by hand, and a driver that runs whole texts through a runner without the engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paceline.generate.batch import Batch
from paceline.generate.runner import BLOCK_TOKENS, Runner


class Row:
    """One sequence of a step: which tokens, from where, in which blocks."""

    def __init__(self, tokens: Sequence[int], blocks: Sequence[int], first: int = 0) -> None:
        self.tokens = list(tokens)
        self.blocks = list(blocks)
        self.first = first
        """Position of its first token."""


def batch_of(rows: Sequence[Row], *, all_logits: bool = False) -> Batch:
    """The step; logits of each sequence's last row are wanted, or of all rows."""
    lengths = [len(row.tokens) for row in rows]
    starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    width = max(len(row.blocks) for row in rows)
    tables = np.zeros((len(rows), width), np.int32)
    for number, row in enumerate(rows):
        tables[number, : len(row.blocks)] = row.blocks
    positions = np.concatenate([np.arange(row.first, row.first + len(row.tokens)) for row in rows])
    return Batch(
        tokens=np.concatenate([row.tokens for row in rows]).astype(np.int32),
        positions=positions.astype(np.int32),
        starts=starts,
        contexts=np.array([row.first + len(row.tokens) for row in rows], np.int32),
        tables=tables,
        wanted=np.arange(starts[-1], dtype=np.int32) if all_logits else starts[1:] - 1,
    )


def blocks_for(tokens: int, first_block: int = 0) -> list[int]:
    """Consecutive blocks that hold so many tokens."""
    return list(range(first_block, first_block + -(-tokens // BLOCK_TOKENS)))


def all_logits(runner: Runner, tokens: Sequence[int], blocks: Sequence[int] | None = None) -> np.ndarray:
    """Logits (tokens, vocabulary) of a text in one step."""
    row = Row(tokens, blocks or blocks_for(len(tokens)))
    return runner.run(batch_of([row], all_logits=True)).copy()


def greedy(runner: Runner, prompt: Sequence[int], count: int) -> list[int]:
    """The `count` likeliest tokens after `prompt`, one step each."""
    blocks = blocks_for(len(prompt) + count)
    logits = runner.run(batch_of([Row(prompt, blocks)]))
    made = [int(logits[0].argmax())]
    while len(made) < count:
        logits = runner.run(batch_of([Row(made[-1:], blocks, len(prompt) + len(made) - 1)]))
        made.append(int(logits[0].argmax()))
    return made


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Natural log-probabilities over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

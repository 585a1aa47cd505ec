"""What the engine needs of a model: rows in, logits out. It owns weights and the paged keys and values."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import numpy as np

from paceline.generate.batch import Batch
from paceline.generate.config import ModelConfig

BLOCK_TOKENS = 16
"""Tokens in a block of keys and values."""


class Memory(msgspec.Struct, frozen=True):
    """Bytes a runner holds."""

    weights_bytes: int
    kv_bytes: int


class Runner(Protocol):
    """Runs batches of one model, one at a time, in the calling thread (and its own workers)."""

    config: ModelConfig
    precision: str
    """fp32, bf16, int8 or int4: of the weights."""
    kv_precision: str
    """fp32, bf16 or int8."""
    blocks: int
    """Blocks of keys and values, numbered from 0."""
    memory: Memory

    def run(self, batch: Batch) -> np.ndarray:
        """Float32 logits (W, vocab) of the wanted rows, valid until the next run.

        What a row gets does not depend on the other rows of the batch (exactly so in int8, to rounding otherwise).
        Raises EngineError; the runner is usable afterwards.
        """

    def describe(self) -> dict[str, Any]:
        """For `/health` and reports: name, precision, kernels, threads, bytes."""

    def close(self) -> None:
        """Free everything."""

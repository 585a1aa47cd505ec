"""A model's sizes as the kernels compute them: in whole registers of sixteen numbers, the rest filled with zeros.

A head of 24 dimensions becomes one of 32. Its pairs (i, i + half) must stay half a head apart, so each half is filled:

    0 ... 11 | 12 ... 23    ->    0 ... 11  . . . .  | 12 ... 23  . . . .

Zeros in queries and keys add nothing to a score, those in values are multiplied by zero weights of the projection.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from paceline.generate.config import ModelConfig

LANES: Final = 16


class Shapes(msgspec.Struct, frozen=True):
    """Sizes, filled where they must be."""

    hidden: int
    inner: int
    head_dim: int
    heads: int
    kv_heads: int

    @classmethod
    def of(cls, config: ModelConfig) -> Shapes:
        """Of a model whose `hidden_size` is a multiple of 16."""
        half = _filled(config.head_dim // 2, LANES // 2)
        return cls(
            hidden=config.hidden_size,
            inner=_filled(config.intermediate_size, LANES),
            head_dim=2 * half,
            heads=config.heads,
            kv_heads=config.kv_heads,
        )

    @property
    def attended(self) -> int:
        """Values of all query heads."""
        return self.heads * self.head_dim

    @property
    def fused(self) -> int:
        """Queries, keys and values of a token."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim


def fill_heads(array: np.ndarray, config: ModelConfig) -> np.ndarray:
    """An array (heads * head_dim, ...) with every half of a head filled with zeros."""
    half, wide = config.head_dim // 2, Shapes.of(config).head_dim // 2
    if half == wide:
        return array
    halves = array.reshape(-1, half, *array.shape[1:])
    filled = np.zeros((len(halves), wide, *array.shape[1:]), array.dtype)
    filled[:, :half] = halves
    return filled.reshape(-1, *array.shape[1:])


def fill_rows(array: np.ndarray, rows: int) -> np.ndarray:
    """An array with zeros behind its rows, up to `rows`."""
    if len(array) == rows:
        return array
    filled = np.zeros((rows, *array.shape[1:]), array.dtype)
    filled[: len(array)] = array
    return filled


def _filled(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple

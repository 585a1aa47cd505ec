"""Keys and values of all layers in blocks of 16 tokens, laid out for `attention_tiles`."""

from __future__ import annotations

import numpy as np

from paceline.generate.compiled.layout import aligned
from paceline.generate.compiled.packing import NUMBER_BYTES
from paceline.generate.compiled.shapes import Shapes
from paceline.generate.runner import BLOCK_TOKENS

_SCALE_BYTES = 4


class KvCache:
    """(layers, blocks, kv heads) of keys [head_dim][16], values [16][head_dim], in int8 scales [16] of each.

    Zeros at first: what no token has written must be finite, because it is multiplied by weights of zero.
    """

    def __init__(self, shapes: Shapes, *, layers: int, blocks: int, precision: str) -> None:
        numbers = 2 * BLOCK_TOKENS * shapes.head_dim * NUMBER_BYTES[precision]
        self.head_bytes = numbers + (2 * BLOCK_TOKENS * _SCALE_BYTES if precision == "int8" else 0)
        self._memory = aligned(layers * blocks * shapes.kv_heads * self.head_bytes)

    @property
    def nbytes(self) -> int:
        """Of all blocks."""
        return self._memory.nbytes

    @property
    def address(self) -> int:
        """Of the first layer's first block."""
        return int(self._memory.ctypes.data)


def rotary_rows(cosines: np.ndarray, sines: np.ndarray, half: int) -> np.ndarray:
    """(positions, 2 * half) of cosines, then sines, where pairs that were filled in do not turn."""
    table = np.zeros((len(cosines), 2 * half), np.float32)
    table[:, :half] = 1.0
    table[:, : cosines.shape[1]] = cosines
    table[:, half : half + sines.shape[1]] = sines
    return table

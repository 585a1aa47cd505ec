"""Drawing one token from a row of logits: what the rules are, in numpy, and the figures that `draw_compiled` shares.

Probabilities are kept as whole numbers, `WEIGHT` for the likeliest token. Sums of whole numbers are exact in any
order, so every way of computing draws the same token for the same random number: vectorised or not, sorted or not.
A token less likely than the likeliest one by more than a factor of 2^30 has weight 0 and is never drawn.
"""

from __future__ import annotations

from enum import IntEnum
from math import ceil, log2
from typing import Final

import msgspec
import numpy as np

WEIGHT: Final = 1 << 29
LEAST_EXPONENT: Final = -30.4
"""Exponents of 2 below this weigh nothing; a masked token's is minus infinity."""
POWER: Final = (
    1.0,
    0.6931471824645996,
    0.24022650718688965,
    0.055503569543361664,
    0.009618056938052177,
    0.0013390866806730628,
    0.00015461447765119374,
)
"""2^x for -0.5 <= x <= 0.5 as a polynomial, lowest power first: within 1e-7 in float32."""
SPAN: Final = 256
"""Logits between two partial results of a compiled pass."""
LEAST_TEMPERATURE: Final = 1e-5
"""Below it the likeliest token is taken: float32 logits have no finer differences to scale."""


class Fault(IntEnum):
    """Why nothing was drawn from a row."""

    NONE = 0
    NOT_A_NUMBER = 1
    INFINITE = 2
    NOTHING_LEFT = 3


class Shape(msgspec.Struct, frozen=True, gc=False):
    """How the distribution is bent and cut before the draw; fields as in `Sampling`."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken without a draw; among equals it is the one with the lowest id."""
        return self.temperature < LEAST_TEMPERATURE or self.top_k == 1

    @property
    def scale(self) -> float:
        """What a logit's distance from the highest is multiplied with to give an exponent of 2; 0 when greedy."""
        return 0.0 if self.greedy else log2(np.e) / self.temperature

    @property
    def least_weight(self) -> int:
        """The smallest weight that `min_p` keeps."""
        return max(1, ceil(self.min_p * WEIGHT))


def fault(logits: np.ndarray) -> Fault:
    """What is wrong with a row (V,) of float32 logits, if anything."""
    highest = logits.max()
    if np.isnan(highest):
        return Fault.NOT_A_NUMBER
    if highest == np.inf:
        return Fault.INFINITE
    return Fault.NOTHING_LEFT if highest == -np.inf else Fault.NONE


def weigh(logits: np.ndarray, scale: float) -> np.ndarray:
    """Weights (V,) int32, proportional to the probabilities."""
    with np.errstate(over="ignore"):  # too far below the highest for a float is below the least exponent
        exponent = np.maximum((logits - logits.max()) * np.float32(scale), np.float32(LEAST_EXPONENT))
    whole = np.rint(exponent)
    rest = exponent - whole
    power = np.full_like(rest, POWER[-1])
    for coefficient in POWER[-2::-1]:
        power = power * rest + np.float32(coefficient)
    shift = (-whole).astype(np.int32)
    weight = (power * np.float32(WEIGHT)).astype(np.int32)
    return np.asarray((weight + ((np.int32(1) << shift) >> 1)) >> shift)


def draw(logits: np.ndarray, shape: Shape, uniform: float) -> tuple[int, Fault]:
    """The token that `uniform`, in [0, 1), falls on when the kept tokens' probabilities lie side by side by id.

    Top-k is applied first, top-p to what it left, then min-p. Tokens exactly as likely as the last one kept are kept
    with it, so no cut depends on the order of ids.
    """
    wrong = fault(logits)
    if wrong is not Fault.NONE:
        return -1, wrong
    if shape.greedy:
        return int(np.argmax(logits)), Fault.NONE
    weights = weigh(logits, shape.scale).astype(np.int64)
    falling = np.sort(weights)[::-1]
    least = 1
    if 0 < shape.top_k < len(weights):
        least = max(least, int(falling[shape.top_k - 1]))
    if shape.top_p < 1.0:
        sums = np.cumsum(falling[falling >= least])
        wanted = max(1, ceil(shape.top_p * float(sums[-1])))
        least = max(least, int(falling[np.searchsorted(sums, wanted)]))
    least = max(least, shape.least_weight)
    sums = np.cumsum(np.where(weights >= least, weights, 0))
    place = min(int(uniform * float(sums[-1])), int(sums[-1]) - 1)
    return int(np.searchsorted(sums, place, side="right")), Fault.NONE

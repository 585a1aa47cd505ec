"""An interval for the change from A to B that holds at every look, from blocks whose order was drawn by a coin.

A block is one segment of A and one of B of the same requests; its difference is the log score of B minus that of A.
If B differs from A by the factor exp(m), what is left of a difference after subtracting m is the machine's doing: it
belongs to the first and the second place of the block, and the coin decided its sign. So given their sizes the signs
are coin flips, whatever the noise: drifting, autocorrelated, with outliers. Betting on them is fair, and a fair bet
multiplies its stake by 40 with a chance of 1/40 at most, however often one looks (Ville 1939). The interval holds
every m against which neither the bet on "larger" nor the bet on "smaller" has come so far.

The bet: a stake grows by 1 + tanh(z) per block, the likelihood ratio of the sign of a normal difference given its
size, for a change of one standard deviation; z is the difference in units of the median size so far and at most 1, so
that an outlier costs a few blocks, however large. Tests of symmetry by betting: Vovk and Wang 2024, Koning
2023; conditioning on sizes: Efron 1969, de la Pena 1999. The fixed bet is made for 6 to 80 blocks: with more the
interval stays at about 0.4 standard deviations, where a bet that grows timid would go on.

Guarantee: at 95 %, the chance that any of the intervals of a test ever misses the change is at most 5 %, for any
number of blocks and any rule for stopping, if every block's order is an independent fair coin and the change is a
factor. When A and B are the same setting it needs the coin only: "better" is said in at most 2.5 % of such tests, and
"worse" likewise. When B also changes the shape of the noise, the interval is about the centre of the differences.

Compared by simulation (`benchmarks/tune_false_promotions.py --intervals`) with Student mixtures (Wang and Ramdas 2025),
self-normalised bounds (de la Pena 1999) and the empirical Bernstein sequence (Waudby-Smith and Ramdas 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, inf, isfinite, isnan, log2
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import ConfigError

LEVEL = 0.95
MARGIN = 0.05
FAILED = 7.0
"""What a failed segment counts for beside one that worked: a factor of 1,100. Far out is far out."""

_CLIP = 1.0
_NORMAL = 0.6745
"""Median size of a standard normal, so that the unit of z is a standard deviation."""
_STEPS = 120
_REFINE = 8

Floats = NDArray[np.float64]
Outcome = Literal["better", "worse", "equivalent", "undecided"]


class Change(msgspec.Struct, frozen=True):
    """From A to B, as shares of A: -0.1 is 10 % less. Scores are smaller for the better side."""

    outcome: Outcome
    blocks: int
    value: float | None = None
    low: float | None = None
    """None while the blocks do not bound it."""
    high: float | None = None
    level: float = LEVEL


def fewest_blocks(level: float = LEVEL) -> int:
    """Fewer coins than this cannot speak at the level even if all agree: 6 at 95 %."""
    return ceil(log2(2.0 / (1.0 - level)))


def always_valid(differences: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """The interval after these blocks, in their order; -inf and inf where they do not bound it yet.

    Valid at every look (see above). Costs milliseconds for 30 blocks. Raises ValueError for a difference that is not
    finite.
    """
    seen = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(seen).all():
        message = f"differences must be finite: {differences}"
        raise ValueError(message)
    if seen.size < fewest_blocks(level):
        return -inf, inf
    # Tiny against the noise and never zero: identical differences are no noise at all.
    unit = max(float(np.median(np.abs(seen - np.median(seen)))), 1e-6)
    reach = 3.0 * float(np.ptp(seen)) + 20.0 * unit
    return -_upper(-seen, unit, reach, level), _upper(seen, unit, reach, level)


def _upper(seen: Floats, unit: float, reach: float, level: float) -> float:
    """The largest change that the bet on "smaller" has not refuted: looked for from far out, then between two steps."""
    middle = float(np.median(seen))
    # Dense where the limit mostly is, wide beyond; 0 itself, so that "better" is never said while 0 stands.
    places = np.unique(
        np.concatenate(
            [
                np.linspace(middle - 8.0 * unit, middle + 8.0 * unit, _STEPS),
                np.linspace(seen.min(), seen.max(), _STEPS),
                [0.0, middle + reach, float(seen.max()) + reach],
            ]
        )
    )
    standing = np.flatnonzero(_stake_on_smaller(seen, places) < 2.0 / (1.0 - level))
    if not standing.size:
        return middle
    last = int(standing[-1])
    if last == places.size - 1:
        return inf
    # Between the two steps the limit is narrowed eightfold a time, keeping the outermost one.
    low, high = float(places[last]), float(places[last + 1])
    for _ in range(_REFINE):
        inner = np.linspace(low, high, 9)
        held = np.flatnonzero(_stake_on_smaller(seen, inner[1:-1]) < 2.0 / (1.0 - level))
        step = int(held[-1]) + 1 if held.size else 0
        low, high = float(inner[step]), float(inner[step + 1])
        if high - low < 1e-6:
            break
    return high


def _stake_on_smaller(seen: Floats, places: Floats) -> Floats:
    """What a stake of 1 has become for each supposed change in `places`, had it been bet on smaller ones."""
    left = places[None, :] - seen[:, None]  # (blocks, places): positive where the difference is smaller
    size = np.abs(left)
    log_stake = np.zeros(places.size)
    for block in range(len(seen)):
        unit = np.maximum(np.median(size[: block + 1], axis=0) / _NORMAL, 1e-9)
        z = np.sign(left[block]) * np.minimum(size[block] / unit, _CLIP)
        log_stake += np.log1p(np.tanh(z))
    stake: Floats = np.exp(log_stake)
    return stake


def centre(differences: Sequence[float]) -> float:
    """Median of all pairwise means, robust and nearly as good as the mean (Hodges and Lehmann 1963)."""
    seen = np.asarray(differences, dtype=np.float64)
    first, second = np.triu_indices(seen.size)
    return float(np.median((seen[first] + seen[second]) / 2.0))


class AbTest:
    """Fed with blocks, it says at any time what is known. The order within each block must come from a fair coin."""

    def __init__(self, level: float = LEVEL) -> None:
        if not 0.5 <= level < 1.0:
            raise ConfigError(
                f"level {level}: an interval covers a share from 0.5 to below 1, as 0.95", param="level"
            )
        self.level = level
        self.differences: list[float] = []
        """Log score of B minus that of A, by block; negative where B was better."""
        self.lost = 0
        """Blocks in which both sides failed, which say nothing about the difference."""

    def add(self, a: float, b: float) -> None:
        """A block's log scores, smaller being better; infinite for a side that failed. Raises ValueError for NaN."""
        if isnan(a) or isnan(b):
            message = f"log scores {a} and {b}: not a number; a failed side is infinite"
            raise ValueError(message)
        if not isfinite(a) and a == b:
            self.lost += 1
        else:
            self.differences.append(min(FAILED, max(-FAILED, b - a)))

    def interval(self) -> tuple[float, float]:
        """Of the log ratio; -inf and inf while the blocks do not bound it."""
        return always_valid(self.differences, self.level)

    def verdict(self, margin: float = MARGIN) -> Change:
        """`equivalent` when the change is surely within the margin, `better` or `worse` when it is surely not 0.

        `margin` is a share, 0.05 for 5 %. Anything but `undecided` is final: a reason to stop. Raises ConfigError for a
        margin that is not within 0 to 1.
        """
        if not 0.0 <= margin < 1.0:
            raise ConfigError(
                f"margin {margin}: write a share from 0 to below 1, as 0.05 for 5 %", param="margin"
            )
        blocks = len(self.differences)
        if not blocks:
            return Change("undecided", 0, level=self.level)
        low, high = (_share(limit) for limit in self.interval())
        outcome: Outcome = "undecided"
        if low is not None and high is not None and -margin < low and high < margin:
            outcome = "equivalent"
        elif high is not None and high < 0.0:
            outcome = "better"
        elif low is not None and low > 0.0:
            outcome = "worse"
        return Change(outcome, blocks, _share(centre(self.differences)), low, high, self.level)


def _share(log_ratio: float) -> float | None:
    return exp(log_ratio) - 1.0 if isfinite(log_ratio) else None

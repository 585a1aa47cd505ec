"""How sure a measured recall is: a lower confidence bound of the mean of numbers between 0 and 1, by betting.

Each query gives one number, the share of its true neighbours found. Clopper-Pearson would want independent trials, and
ten neighbours of one query are found or missed together: it promises too much. Empirical Bernstein holds, but its
constant alone costs 0.017 at 500 queries, more than the last percent of recall is wide. Waudby-Smith and Ramdas (2024,
"Estimating means of bounded random variables by betting") is as valid and far tighter: whoever bets that the mean is
above m wins on every query above it, and if m were the mean, a fortune of 1 / (1 - confidence) would come about with
no more than that probability. The bound is the largest m at which the bets won that much.

Nothing is assumed but that queries are drawn alike and apart from each other.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_LARGEST_BET: Final = 0.9
"""Share of the fortune put on one query."""
_HALVINGS: Final = 30


def lower_bound(shares: Any, confidence: float = 0.95) -> float:
    """What the mean is at least, with this confidence; 0 if there is no number.

    The mean of each prefix decides the next bet, so the order matters: it has to be random.
    """
    values = np.asarray(shares, np.float64)
    assert values.size == 0 or (values.min() >= 0 and values.max() <= 1)
    assert 0 < confidence < 1
    if values.size == 0:
        return 0.0
    bets = _bets(values, confidence)
    wanted = -np.log(1 - confidence)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _most_won(values, bets, middle) >= wanted:
            low = middle
        else:
            high = middle
    return low


def _bets(values: NDArray[np.float64], confidence: float) -> NDArray[np.float64]:
    """How much is bet on each value, decided by those before it: more where they varied less."""
    count = np.arange(1, len(values) + 1)
    mean = (0.5 + np.cumsum(values)) / (count + 1)
    spread = (0.25 + np.cumsum((values - mean) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], spread[:-1]])
    bets: NDArray[np.float64] = np.sqrt(2 * np.log(1 / (1 - confidence)) / (len(values) * before))
    return bets


def _most_won(values: NDArray[np.float64], bets: NDArray[np.float64], mean: float) -> float:
    """Logarithm of the largest fortune on the way, if `mean` is bet against."""
    bounded = np.minimum(bets, _LARGEST_BET / mean) if mean > 0 else bets
    return float(np.cumsum(np.log1p(bounded * (values - mean))).max())

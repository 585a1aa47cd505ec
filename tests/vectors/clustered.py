"""Vectors like embeddings: clusters of unequal size and spread, in few directions of many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def clustered(count: int, dimensions: int = 48, seed: int = 1) -> NDArray[np.float32]:
    """Vectors (count, dimensions), not normalised, of one mixture whatever the seed."""
    mixture, draw = np.random.default_rng(0), np.random.default_rng(seed)
    clusters = max(2, dimensions // 4)
    centres = mixture.standard_normal((clusters, dimensions))
    directions = mixture.standard_normal((8, dimensions)) / 3
    chosen = draw.integers(0, clusters, count)
    noise = draw.standard_normal((count, dimensions)) / 4
    return (centres[chosen] + draw.standard_normal((count, 8)) @ directions + noise).astype(np.float32)

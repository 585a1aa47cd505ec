"""Synthetic vectors that lie as embeddings do: in clusters of very unequal size."""

from __future__ import annotations

from typing import Final

import numpy as np

from paceline.vectors.metric import Floats, normalised

_DIMENSIONS: Final = 384
_CLUSTERS: Final = 4_000
_TOPICS: Final = 100


def clustered(count: int, queries: int = 1000, *, flat: bool = False, seed: int = 5) -> tuple[Floats, Floats]:
    """Unit vectors (count, 384) and `queries` more of one mixture of 4,000 clusters.

    Clusters lie around 100 topics and spread in 24 directions. If `flat`, no cluster is nearer to another than to the rest
    and each spreads wider, in 40 directions, than clusters lie apart: nothing leads a graph search the right way.
    """
    draw = np.random.default_rng(seed)
    each = _CLUSTERS // _TOPICS
    topics: Floats | int = (
        0 if flat else np.repeat(draw.standard_normal((_TOPICS, _DIMENSIONS), np.float32), each, axis=0)
    )
    apart = draw.standard_normal((_CLUSTERS, _DIMENSIONS), np.float32)
    centres = topics + np.float32(1.0 if flat else 0.6) * apart
    ways, spread, noise = (40, 1.2, 0.35) if flat else (24, 0.7, 0.15)
    directions = draw.standard_normal((ways, _DIMENSIONS), np.float32) / np.float32(np.sqrt(ways))
    sizes = draw.pareto(1.5, _CLUSTERS) + 0.2

    def some(wanted: int) -> Floats:
        of = draw.choice(_CLUSTERS, wanted, p=sizes / sizes.sum())
        vectors = centres[of] + np.float32(spread) * (
            draw.standard_normal((wanted, ways), np.float32) @ directions
        )
        vectors += np.float32(noise) * draw.standard_normal((wanted, _DIMENSIONS), np.float32)
        return normalised(vectors.astype(np.float32, copy=False))

    return some(count), some(queries)

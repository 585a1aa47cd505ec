"""Search by meaning and by words at once: the rankings of both, fused by their ranks: `fused_matches`.

Scores of BM25 and cosines cannot be added, ranks can: reciprocal-rank fusion (Cormack, Clarke and Buettcher 2009) gives
a record the sum of weight / (60 + rank) over the rankings that have it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from paceline.base.errors import InvalidRequest
from paceline.vectors.collection import Collection
from paceline.vectors.filters import Filter
from paceline.vectors.record import Match
from paceline.vectors.searched import MOST_RESULTS, checked_counts

Id = TypeVar("Id", bound=Hashable)

RANK_CONSTANT: Final = 60
"""How slowly a rank loses weight: the first counts 1/61, the sixtieth half of that."""
DEPTH: Final = 100
"""Records taken of each ranking, at least."""


def fused(
    rankings: Sequence[Sequence[Id]], weights: Sequence[float] | None = None, constant: int = RANK_CONSTANT
) -> list[tuple[Id, float]]:
    """All that is in some ranking, with its score, best first; equals as the first ranking that has them does.

    InvalidRequest unless there is a weight of 0 or more for each ranking, one of them above it.
    """
    given = [1.0] * len(rankings) if weights is None else list(weights)
    if len(given) != len(rankings) or min(given, default=0.0) < 0 or not any(given):
        raise InvalidRequest(
            f"weights are {given} for {len(rankings)} rankings; give each 0 or more, and one above it",
            param="weights",
        )
    scores: dict[Id, float] = {}
    for ranking, weight in zip(rankings, given, strict=True):
        for rank, one in enumerate(ranking, start=1):
            if weight:
                scores[one] = scores.get(one, 0.0) + weight / (constant + rank)
    return sorted(scores.items(), key=lambda item: -item[1])


def depth_of(k: int) -> int:
    """How many records to take of each ranking, for the best `k` of both."""
    return min(max(k, DEPTH), MOST_RESULTS)


def fused_matches(
    rankings: Sequence[Sequence[Match]], k: int, weights: Sequence[float] | None = None
) -> list[Match]:
    """The best `k` of some rankings of records; scores are those of the fusion, the rest is as a ranking has it.

    By vector and by words: `Collection.query(vector, depth_of(k))[0]` and `Collection.by_words(text, depth_of(k))`,
    or those of a sharded collection, whose parts are merged by score before. InvalidRequest as `fused`.
    """
    known = {match.id: match for ranking in reversed(rankings) for match in ranking}
    best = fused([[match.id for match in ranking] for ranking in rankings], weights)[:k]
    return [msgspec.structs.replace(known[name], score=score) for name, score in best]


def hybrid_query(  # noqa: PLR0913 - keywords, each with a default
    collection: Collection,
    text: str,
    vector: Any,
    k: int = 10,
    *,
    filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002
    namespace: str = "",
    weights: tuple[float, float] = (1.0, 1.0),
    ef: int | None = None,
    include_metadata: bool = False,
    include_vectors: bool = False,
) -> list[Match]:
    """The best `k` by vector and by words, `weights` in this order; a weight of 0 leaves that search out."""
    checked_counts(k, 0)
    depth = depth_of(k)
    near = words = list[Match]()
    if weights[0]:
        near = collection.query(
            vector,
            depth,
            filter=filter,
            namespace=namespace,
            ef=ef,
            include_metadata=include_metadata,
            include_vectors=include_vectors,
        )[0]
    if weights[1]:
        words = collection.by_words(
            text,
            depth,
            filter=filter,
            namespace=namespace,
            include_metadata=include_metadata,
            include_vectors=include_vectors,
        )
    return fused_matches([near, words], k, weights)

"""Search by meaning and by words at once: the rankings of both, fused by their ranks: `HybridSearch`.

Scores of BM25 and cosines cannot be added, ranks can: reciprocal-rank fusion (Cormack, Clarke and Buettcher 2009) gives
a record the sum of weight / (60 + rank) over the rankings that have it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from paceline.base.errors import InvalidRequest
from paceline.vectors.collection import Collection
from paceline.vectors.filters import Filter
from paceline.vectors.record import Key, Match, Record
from paceline.vectors.text_index import TextIndex

Id = TypeVar("Id", bound=Hashable)

RANK_CONSTANT: Final = 60
"""How slowly a rank loses weight: the first counts 1/61, the sixtieth half of that."""
DEPTH: Final = 100
"""Records taken of each ranking, at least."""
_MOST_LOOKED_AT: Final = 10_000
_BATCH: Final = 1000


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


class HybridSearch:
    """A collection and the texts of its records, written and searched together.

    The text of a record is its metadata's `field`; without one it is found by its vector only.
    """

    def __init__(self, collection: Collection, texts: TextIndex, field: str = "text") -> None:
        self.collection = collection
        self.texts = texts
        self.field = field

    def upsert(self, records: Iterable[Record]) -> int:
        """See `Collection.upsert`; the texts follow."""
        given = list(records)
        count = self.collection.upsert(given)
        self.texts.delete((record.namespace, record.id) for record in given)
        self.texts.upsert(self._texts(given))
        return count

    def delete(self, ids: Sequence[str], *, namespace: str = "") -> int:
        """See `Collection.delete`; the texts too."""
        count = self.collection.delete(ids, namespace=namespace)
        self.texts.delete((namespace, name) for name in ids)
        return count

    def rebuild(self) -> None:
        """Make the texts anew from the collection: after a crash between the two, or writes that went past this."""
        self.texts.clear()
        spaces: dict[str, list[str]] = {}
        for namespace, name in self.collection.all_keys():
            spaces.setdefault(namespace, []).append(name)
        for namespace, names in spaces.items():
            for start in range(0, len(names), _BATCH):
                found = self.collection.fetch(
                    names[start : start + _BATCH], namespace=namespace, include_vectors=False
                )
                self.texts.upsert(self._texts(found.values()))
        self.texts.commit()

    def query(  # noqa: PLR0913 - keywords, each with a default
        self,
        text: str,
        vector: Any,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002
        namespace: str = "",
        weights: tuple[float, float] = (1.0, 1.0),
        ef: int | None = None,
        include_metadata: bool = False,
    ) -> list[Match]:
        """The best `k` by vector and by words, `weights` in this order; the scores are those of the fusion."""
        depth = max(k, DEPTH)
        near = self.collection.query(vector, depth, filter=filter, namespace=namespace, ef=ef)[0]
        by_words = self._by_words(text, depth, namespace, filter)
        best = fused([[match.id for match in near], by_words], weights)[:k]
        records: Mapping[str, Record] = {}
        if include_metadata:
            names = [name for name, _ in best]
            records = self.collection.fetch(names, namespace=namespace, include_vectors=False)
        return [
            Match(name, score, dict(records[name].metadata or {}) if name in records else None)
            for name, score in best
        ]

    def _by_words(
        self, text: str, depth: int, namespace: str, wanted: Mapping[str, Any] | Filter | None
    ) -> list[str]:
        """Ids of the best texts whose records are there and pass the filter: further down until these are enough."""
        parsed = wanted if wanted is None or isinstance(wanted, Filter) else Filter.parse(wanted)
        looked_at = depth
        while True:
            found = [name for name, _ in self.texts.search(text, looked_at, namespace)]
            records = self.collection.fetch(found, namespace=namespace, include_vectors=False)
            passing = [
                name
                for name in found
                if name in records and (parsed is None or parsed.matches(records[name].metadata))
            ]
            if len(passing) >= depth or len(found) < looked_at or looked_at >= _MOST_LOOKED_AT:
                return passing[:depth]
            looked_at = min(4 * looked_at, _MOST_LOOKED_AT)

    def _texts(self, records: Iterable[Record]) -> list[tuple[Key, str]]:
        found = []
        for record in records:
            text = (record.metadata or {}).get(self.field)
            if isinstance(text, str):
                found.append(((record.namespace, record.id), text))
        return found

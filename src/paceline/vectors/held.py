"""An open collection with what serving it needs: its cache, the queries asked last, its pace, its promise: `Held`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from paceline.base.errors import InvalidRequest, NotFound
from paceline.base.vectors_collections import CollectionCard
from paceline.base.vectors_records import MOST_K, Queried, Query
from paceline.vectors.collection import Collection
from paceline.vectors.gathered import missing_of
from paceline.vectors.held_recall import HeldRecall
from paceline.vectors.hybrid import depth_of, fused_matches
from paceline.vectors.identity import leave_identity, take_identity
from paceline.vectors.metric import Floats
from paceline.vectors.query_cache import QueryCache
from paceline.vectors.recent_queries import RecentQueries
from paceline.vectors.record import Match
from paceline.vectors.sharded import ShardedCollection
from paceline.vectors.wire import queried_of, vector_of

QUICK_S: Final = 1e-3
"""A search that is expected to take less runs on the event loop, where handing it to a thread and back would take as long
again (60 to 150 us, and more under load); one that takes more would keep other requests waiting."""
_QUICK_K: Final = 1000
_MOST_S: Final = 4 * QUICK_S
_WEIGHT: Final = 0.1
"""Of the last search in the running mean."""


class Asked(msgspec.Struct, frozen=True):
    """A query as it is run: its numbers (None if they are those of a record), and the setting in force."""

    query: Query
    vector: Floats | None
    ef: int
    candidates: int
    is_said: bool = True
    """Whether the query or a promise says `ef`; else it is the collection's default."""


class Held:
    """Belongs to one event loop, but for `search` and `recall`, which any thread may use."""

    def __init__(  # noqa: PLR0913 - keywords
        self,
        name: str,
        collection: Collection | ShardedCollection,
        folder: Path,
        *,
        cache_of: Callable[[str], QueryCache | None],
        recheck_s: float,
        ending: threading.Event,
    ) -> None:
        """`cache_of` an identity; a check of the promise is given up when `ending` is set. StorageDamaged."""
        self.name = name
        self.collection = collection
        self.folder = folder
        self.recent = RecentQueries(collection.schema.dimensions)
        self.recall = HeldRecall(collection, self.recent, folder, recheck_s=recheck_s, ending=ending)
        self._identity = take_identity(folder)
        self.cache = cache_of(self._identity)
        self._seen: tuple[int, dict[str, str]] = (0, {})
        self.look()
        self._means_s: dict[bool, float] = {}
        """Of searches without and with a filter."""

    def asked(self, query: Query) -> Asked:
        """The query, checked, and what is in force: what it says, else what was tuned, else the policy."""
        if not 1 <= query.top_k <= MOST_K:
            raise InvalidRequest(f"topK is {query.top_k}; ask for 1 to {MOST_K} results", param="topK")
        if query.vector is None and query.id is None and query.text is None:
            raise InvalidRequest(
                "a query has neither vector nor id nor text; send one of them", param="vector"
            )
        if query.vector is not None and query.id is not None:
            raise InvalidRequest("a query has both vector and id; send one of them", param="id")
        vector = None
        if query.vector is not None:
            vector = vector_of(query.vector, self.collection.schema, "vector")
        policy, kept = self.collection.policy.search, self.recall.kept
        ef, candidates = self.collection.default_ef, policy.candidates
        promised = kept is not None and query.top_k <= kept.promise.k
        if kept is not None and promised:  # more results need more than was tuned for fewer
            ef, candidates = kept.ef, kept.candidates
        return Asked(
            query,
            vector,
            ef if query.ef is None else query.ef,
            candidates if query.candidates is None else query.candidates,
            is_said=promised or query.ef is not None,
        )

    def key(self, asked: Asked) -> bytes:
        """That of the answer, as the collection is now."""
        assert self.cache is not None
        return self.cache.key(
            asked.query,
            asked.vector,
            ef=asked.ef,
            candidates=asked.candidates,
            version=self.collection.version,
        )

    def is_quick(self, asked: Asked) -> bool:
        """Whether the search is sure enough to be short for the event loop: by what the last ones took."""
        query = asked.query
        mean_s = self._means_s.get(query.filter is not None, QUICK_S)
        return (
            mean_s < QUICK_S
            and query.text is None
            and not query.exact
            and max(query.top_k, asked.ef) <= _QUICK_K
            and isinstance(self.collection, Collection)  # shards are waited for
        )

    def search(self, asked: Asked) -> Queried:
        """The answer, made anew. InvalidRequest, NotFound if there is no record of the id."""
        query, vector = asked.query, asked.vector
        if vector is None and query.id is not None:
            vector = _vector_of_record(self.collection, query.id, query.namespace)
        missing: Mapping[str, str] = {}
        if query.text is None:
            assert vector is not None
            found, missing = self._by_vector(asked, vector, query.top_k)
        elif vector is None:
            found = self._by_words(query, query.top_k)
            missing = missing_of(found)
        else:
            depth = depth_of(query.top_k)
            near, missing = self._by_vector(asked, vector, depth)
            words = self._by_words(query, depth)
            missing = {**missing, **missing_of(words)}
            found = fused_matches([near, words], query.top_k, query.weights)
        return queried_of(found, query.namespace, missing, packed=type(query.vector) is str)

    def _by_vector(self, asked: Asked, vector: Floats, k: int) -> tuple[list[Match], Mapping[str, str]]:
        query = asked.query
        started = time.perf_counter()
        found = self.collection.query(
            vector,
            k,
            filter=query.filter,
            namespace=query.namespace,
            ef=asked.ef if asked.is_said else None,
            candidates=asked.candidates,
            include_metadata=query.include_metadata,
            include_vectors=query.include_values,
            exact=query.exact,
        )
        if not query.exact and asked.ef <= _QUICK_K:
            filtered = query.filter is not None
            # The first one may take seconds, and says nothing of the next.
            took_s = min(time.perf_counter() - started, _MOST_S)
            mean_s = self._means_s.get(filtered, took_s)
            self._means_s[filtered] = mean_s * (1 - _WEIGHT) + took_s * _WEIGHT
        self.recent.add(vector, query.namespace)
        return found[0], missing_of(found)

    def _by_words(self, query: Query, k: int) -> list[Match]:
        assert query.text is not None
        return self.collection.by_words(
            query.text,
            k,
            filter=query.filter,
            namespace=query.namespace,
            include_metadata=query.include_metadata,
            include_vectors=query.include_values,
        )

    def look(self) -> None:
        """Ask for counts and troubles, which several shards may take long to tell: for `seen`."""
        self._seen = self.collection.records, self.collection.troubles

    def seen(self) -> tuple[int, dict[str, str]]:
        """Records and troubles, at once; of shards, those of the last look."""
        if isinstance(self.collection, Collection):
            return self.collection.records, self.collection.troubles
        return self._seen

    def card(self) -> CollectionCard:
        """As it is listed."""
        schema, policy, kept = self.collection.schema, self.collection.policy.search, self.recall.kept
        records = self.collection.records  # looks at the shards, and so at their ef
        return CollectionCard(
            name=self.name,
            dimension=schema.dimensions,
            metric=schema.metric,
            precision=schema.precision,
            records=records,
            version=self.collection.version,
            shards=1 if isinstance(self.collection, Collection) else len(self.collection.slots.shards),
            ef=self.collection.default_ef if kept is None else kept.ef,
            candidates=policy.candidates if kept is None else kept.candidates,
            promise=self.recall.text(),
        )

    def leave(self) -> None:
        """Answers that are kept are found again after the next opening; to be called after the last write."""
        leave_identity(self.folder, self._identity)

    def forget(self) -> None:
        """They are not: the last writes may be lost."""
        take_identity(self.folder)


def _vector_of_record(collection: Collection | ShardedCollection, name: str, namespace: str) -> Floats:
    """That of one record (d,). NotFound."""
    record = collection.fetch([name], namespace=namespace).get(name)
    if record is None:
        raise NotFound(f"no record {name!r} in namespace {namespace!r}; query by vector instead", param="id")
    vector: Floats = record.vector
    return vector

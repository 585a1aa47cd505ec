"""Collections of one process behind `base.vectors_api`: `LocalVectors`.

The way of a query: its collection, its numbers checked, the cache, then a search, on the event loop if it is sure to be
short and on a thread if not. All else that is asked runs on threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from paceline.base import vectors_api as api
from paceline.base.errors import EngineError, InvalidRequest, NotFound, StorageError
from paceline.flow.cache.tiers import Tiers
from paceline.vectors import operations
from paceline.vectors.held import Asked, Held
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.query_cache import QueryCache
from paceline.vectors.service_threads import Kind, ServiceThreads, checked_deadline
from paceline.vectors.store import VectorStore

TTL_S: Final = 43_200.0

_OF_A_COLLECTION: Final[Mapping[type[Any], tuple[Kind, Callable[[Any, Any], Any]]]] = {
    api.Upsert: ("write", operations.upsert),
    api.Update: ("write", operations.update),
    api.Delete: ("write", operations.delete),
    api.Fetch: ("read", operations.fetch),
    api.ListIds: ("read", operations.list_ids),
}
"""What is asked of an open collection and concerns no more than its records."""


class LocalVectors:
    """A `VectorService`; belongs to one event loop. Owns the store: `close` closes it."""

    def __init__(
        self,
        store: VectorStore,
        policy: VectorsPolicy,
        *,
        cache: Tiers | None = None,
        ttl_s: float = TTL_S,
    ) -> None:
        """`cache` keeps answers for `ttl_s` seconds at most; None searches each time."""
        self.store = store
        self.policy = policy
        self._tiers = cache
        self._ttl_s = ttl_s
        self._threads = ServiceThreads(policy.threads)
        self._held: dict[str, Held] = {}
        self._opening = threading.Lock()  # held while a collection is opened, made, or dropped
        self._care: Mapping[type[Any], Callable[[Any], Any]] = {
            api.CreateCollection: self._create,
            api.ListCollections: self._list,
            api.Describe: self._describe,
            api.DescribeCollection: lambda asked: self._card(self._of(asked)),
            api.DropCollection: self._drop,
            api.Compact: self._compact,
            api.Verify: self._verify,
        }

    # -- what is asked ----------------------------------------------------------------------------------------

    def hit(self, query: api.Query) -> api.Queried | None:
        """See `VectorService.hit`; what is wrong with the query is told by `answer`."""
        held = self._held.get(query.collection or self._only())
        if held is None or held.cache is None:
            return None
        try:
            return held.cache.peek(held.key(held.asked(query)))
        except InvalidRequest:
            return None

    async def answer(self, asked: Any, *, deadline_at: float) -> Any:
        """See `VectorService.answer`."""
        kind = type(asked)
        if kind is api.Query:
            return await self._query(asked, deadline_at)
        if kind in _OF_A_COLLECTION:
            lane, work = _OF_A_COLLECTION[kind]
            return await self._threads.run(lane, lambda: work(self._of(asked).collection, asked), deadline_at)
        if kind in self._care:
            return await self._threads.run("care", partial(self._care[kind], asked), deadline_at)
        raise EngineError(f"{kind.__name__} cannot be asked of collections; are all parts of one version?")

    async def _query(self, query: api.Query, deadline_at: float) -> api.Queried:
        held = self._held.get(query.collection or self._only())
        if held is None:
            held = await self._threads.run("read", partial(self._of, query), deadline_at)
        checked_deadline(deadline_at)
        asked = held.asked(query)

        async def search() -> api.Queried:
            return await self._search(held, asked, deadline_at)

        if held.cache is None:
            return await search()
        answer, _ = await held.cache.fetch(held.key(asked), search)
        return answer

    async def _search(self, held: Held, asked: Asked, deadline_at: float) -> api.Queried:
        if held.is_quick(asked):
            return held.search(asked)
        return await self._threads.run("read", partial(held.search, asked), deadline_at)

    # -- collections ------------------------------------------------------------------------------------------

    def _only(self) -> str:
        """The collection that is meant when none is named; empty if that is not known without reading the folder."""
        return next(iter(self._held)) if len(self._held) == 1 else ""

    def _of(self, asked: Any) -> Held:
        """The collection that is asked, opened if it is not. NotFound tells which there are."""
        return self._opened(asked.collection or self._default())

    def _default(self) -> str:
        names = self.store.names()
        if len(names) == 1:
            return names[0]
        if self.policy.collection in names:
            return self.policy.collection
        listed = ", ".join(names) or "none; create one"
        raise NotFound(
            f"no collection is named, and there is no {self.policy.collection!r}; there are: {listed}",
            param="collection",
        )

    def _opened(self, name: str) -> Held:
        with self._opening:
            if name not in self._held:
                self._hold(name)
            return self._held[name]

    def _hold(self, name: str) -> Held:
        held = Held(name, self.store.collection(name), self.store.folder / name, self._cache_of)
        self._held[name] = held
        return held

    def _cache_of(self, identity: str) -> QueryCache | None:
        return None if self._tiers is None else QueryCache(self._tiers, identity, self._ttl_s)

    def _create(self, asked: api.CreateCollection) -> api.CollectionCard:
        schema, sample = operations.schema_of(asked)
        with self._opening:
            self.store.create(asked.name, schema, sample=sample)
            return self._card(self._hold(asked.name))

    def _list(self, _: api.ListCollections) -> api.Collections:
        return api.Collections(collections=[self._card(self._opened(name)) for name in self.store.names()])

    def _describe(self, asked: api.Describe) -> api.Described:
        held = self._of(asked)
        return operations.describe(held.name, held.collection)

    def _drop(self, asked: api.DropCollection) -> api.Dropped:
        if not asked.collection:
            raise InvalidRequest("no collection is named; what is dropped must be", param="collection")
        held = self._of(asked)
        with self._opening:
            self._held.pop(held.name, None)
            self.store.drop(held.name)
        return api.Dropped()

    def _card(self, held: Held) -> api.CollectionCard:
        kept, policy = held.kept, held.collection.policy.search
        return operations.card(
            held.name,
            held.collection,
            ef=policy.ef if kept is None else kept.ef,
            candidates=policy.candidates if kept is None else kept.candidates,
            promise=held.promised(),
        )

    def _compact(self, asked: api.Compact) -> api.CollectionCard:
        held = self._of(asked)
        held.collection.compact()
        return self._card(held)

    def _verify(self, asked: api.Verify) -> api.Verified:
        damaged = self._of(asked).collection.verify()
        return api.Verified(damaged={str(number): reason for number, reason in damaged.items()})

    # -- state ------------------------------------------------------------------------------------------------

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """See `VectorService.stats`."""
        return {"vectors": {"collections": len(self._held)}}

    def health(self) -> Mapping[str, object]:
        """See `VectorService.health`."""
        return {"status": "ok"}

    async def close(self) -> None:
        """End what runs, then close the store: what was acknowledged is safe, the folder is free."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.end("read", "write")
        for held in self._held.values():
            held.leave()
        try:
            self.store.close()  # wakes who waits for a compaction
        except StorageError:
            for held in self._held.values():
                held.forget()
            raise
        self._threads.end("care")

"""Collections of one process behind `base.vectors_api`: `LocalVectors`.

The way of a query: its collection, its numbers checked, the cache, then a search, on the event loop if it is sure to be
short and on a thread if not. All else that is asked runs on threads.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from paceline.base.errors import EngineError, InvalidRequest, PacelineError
from paceline.base.vectors_collections import (
    CollectionCard,
    Compact,
    ComparePrecisions,
    CreateCollection,
    Describe,
    DescribeCollection,
    DropCollection,
    ListCollections,
    ListSnapshots,
    Reencode,
    Reshard,
    Restore,
    Snapshot,
    Snapshots,
    Tune,
    Verify,
)
from paceline.base.vectors_records import Delete, Fetch, ListIds, Queried, Query, Update, Upsert
from paceline.flow.cache.tiers import Tiers
from paceline.vectors import operations
from paceline.vectors.folder_lock import FolderLock
from paceline.vectors.held import Asked, Held
from paceline.vectors.holding import Holding
from paceline.vectors.kept_snapshots import KeptSnapshots
from paceline.vectors.kernels import warm_up
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.promises import tuned
from paceline.vectors.query_cache import TTL_S
from paceline.vectors.service_threads import Kind, ServiceThreads, checked_deadline
from paceline.vectors.store import VectorStore

log = logging.getLogger("paceline.vectors")

LOOK_S: Final = 2.0
"""Time between two looks at the collections: what shards say of themselves, and whether a promise is to be checked."""

Work = Callable[[Held, Any], Any]

_OF_RECORDS: Final[Mapping[type[Any], tuple[Kind, Work]]] = {
    Upsert: ("write", lambda held, asked: operations.upsert(held.collection, asked)),
    Update: ("write", lambda held, asked: operations.update(held.collection, asked)),
    Delete: ("write", lambda held, asked: operations.delete(held.collection, asked)),
    Fetch: ("read", lambda held, asked: operations.fetch(held.collection, asked)),
    ListIds: ("read", lambda held, asked: operations.list_ids(held.collection, asked)),
    Describe: ("read", lambda held, _: operations.describe(held.name, held.collection)),
    DescribeCollection: ("read", lambda held, _: held.card()),
    Compact: ("care", lambda held, _: operations.compact(held)),
    Verify: ("care", lambda held, _: operations.verify(held.collection)),
    ComparePrecisions: ("care", operations.precisions),
    Reencode: ("care", operations.reencode),
}
"""What one collection answers alone."""


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
        self._ending = threading.Event()
        self._holding = Holding(store, policy, self._ending, cache, ttl_s)
        self._snapshots = KeptSnapshots(store.folder)
        self._threads = ServiceThreads(policy.threads)
        self._lock: FolderLock | None = None
        self._looking: asyncio.Task[None] | None = None
        self._counts = dict.fromkeys(
            ("queries_total", "cached_total", "on_loop_total", "writes_total", "records_written_total"), 0
        )
        self._of_store: Mapping[type[Any], tuple[Kind, Callable[[Any], Any]]] = {
            CreateCollection: ("care", self._holding.create),
            ListCollections: ("read", self._holding.list_all),
            DropCollection: ("care", self._holding.drop),
            Reshard: ("care", self._holding.reshard),
            Tune: ("care", lambda asked: tuned(self._holding.asked(asked), asked, self._ending)),
            Snapshot: ("care", self._snapshot),
            ListSnapshots: ("read", lambda _: Snapshots(snapshots=self._snapshots.names())),
            Restore: ("care", self._restore),
        }

    async def start(self) -> None:
        """Open all collections, make the searches ready, and begin to check what is promised.

        FolderInUse when another process has the store, or a collection, open. One that is damaged does not keep others from being served.
        """
        await asyncio.to_thread(self._start)
        self._looking = asyncio.get_running_loop().create_task(self._keep_looking())

    def _start(self) -> None:
        self._lock = FolderLock(self._holding.folder)
        self._holding.open_all()
        warm_up(self._holding.precisions())

    # -- what is asked ----------------------------------------------------------------------------------------

    def hit(self, query: Query) -> Queried | None:
        """See `VectorService.hit`; what is wrong with the query is told by `answer`."""
        held = self._holding.known(query.collection)
        if held is None or held.cache is None:
            return None
        try:
            found = held.cache.peek(held.key(held.asked(query)))
        except InvalidRequest:
            return None
        if found is not None:
            self._counts["queries_total"] += 1
            self._counts["cached_total"] += 1
        return found

    async def answer(self, asked: Any, *, deadline_at: float) -> Any:
        """See `VectorService.answer`."""
        kind = type(asked)
        if kind is Query:
            return await self._query(asked, deadline_at)
        if kind in _OF_RECORDS:
            pool, work = _OF_RECORDS[kind]
            answer = await self._threads.run(pool, partial(self._holding.done, work, asked), deadline_at)
            self._counts["writes_total"] += pool == "write"
            self._counts["records_written_total"] += getattr(answer, "upserted_count", 0)
            return answer
        if kind in self._of_store:
            pool, whole = self._of_store[kind]
            return await self._threads.run(pool, partial(whole, asked), deadline_at)
        raise EngineError(f"{kind.__name__} cannot be asked of collections; are all parts of one version?")

    async def _query(self, query: Query, deadline_at: float) -> Queried:
        self._counts["queries_total"] += 1
        held = self._holding.known(query.collection)
        if held is None:
            held = await self._threads.run("read", partial(self._holding.asked, query), deadline_at)
        checked_deadline(deadline_at)
        asked = held.asked(query)
        if held.cache is None:
            return await self._search(held, asked, deadline_at)
        answer, tier = await held.cache.fetch(held.key(asked), lambda: self._search(held, asked, deadline_at))
        self._counts["cached_total"] += tier not in {"miss", "bypass"}
        return answer

    async def _search(self, held: Held, asked: Asked, deadline_at: float) -> Queried:
        if held.is_quick(asked) and self._holding.is_current(held):
            self._counts["on_loop_total"] += 1
            return held.search(asked)

        def search(now: Held, query: Query) -> Queried:
            return now.search(asked if now is held else now.asked(query))

        return await self._threads.run("read", partial(self._holding.done, search, asked.query), deadline_at)

    def _snapshot(self, asked: Snapshot) -> Snapshots:
        held = self._holding.asked(asked)
        self._snapshots.take(held.name, held.collection, asked.name)
        return Snapshots(snapshots={held.name: self._snapshots.names().get(held.name, [])})

    def _restore(self, asked: Restore) -> CollectionCard:
        if not asked.collection:
            raise InvalidRequest(
                "no collection is named; say what the restored one is called", param="collection"
            )
        return self._holding.restore(asked.collection, self._snapshots.folder(asked.source, asked.name))

    # -- care -------------------------------------------------------------------------------------------------

    def apply(self, policy: VectorsPolicy) -> None:
        """Take over what may change while running: `search.ef`, `search.recall`, `search.candidates`, `recheck_s`."""
        self._holding.apply(policy)

    @property
    def ttl_s(self) -> float:
        """Life of answers kept from now on."""
        return self._holding.ttl_s

    @ttl_s.setter
    def ttl_s(self, value: float) -> None:
        self._holding.ttl_s = value

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                for held in self._holding.all():
                    await self._threads.run("read", held.look, float("inf"))
                await self.check_promises()
            except PacelineError as error:
                log.warning("collections are not looked at (%s); again in %g s", error.message, LOOK_S)

    async def check_promises(self) -> None:
        """Check the promises that are due, one after another."""
        for held in self._holding.all():
            await self._threads.run("care", held.recall.check_if_due, float("inf"))

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """See `VectorService.stats`."""
        return {"vectors": {**self._counts, **self._holding.stats()}}

    def health(self) -> Mapping[str, object]:
        """See `VectorService.health`."""
        return self._holding.health()

    async def close(self) -> None:
        """End what runs, then close the store: what was acknowledged is safe, the folder is free."""
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._ending.set()
        self._threads.end("read", "write")
        try:
            self._holding.close()  # wakes who waits for a compaction
        finally:
            self._threads.end("care")
            if self._lock is not None:
                self._lock.release()
                self._lock = None

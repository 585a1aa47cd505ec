"""The collections of a store that are served: opened, made, dropped, and found by what is asked: `Holding`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from paceline.base.errors import FolderInUse, InvalidRequest, NotFound, PacelineError, StorageError
from paceline.base.vectors_collections import (
    CollectionCard,
    Collections,
    CreateCollection,
    DropCollection,
    Dropped,
    ListCollections,
    Reshard,
    Resharded,
)
from paceline.flow.cache.tiers import Tiers
from paceline.vectors import operations
from paceline.vectors.codes import Precision
from paceline.vectors.held import Held
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.query_cache import QueryCache
from paceline.vectors.store import VectorStore

T = TypeVar("T")

log = logging.getLogger("paceline.vectors")


class Holding:
    """Any thread may use it; but for `known`, `all`, `stats` and `health` it may block."""

    def __init__(
        self,
        store: VectorStore,
        policy: VectorsPolicy,
        ending: threading.Event,
        tiers: Tiers | None,
        ttl_s: float,
    ) -> None:
        """`ending` is set when checks are to be given up."""
        self.folder = store.folder
        self._store = store
        self._policy = policy
        self._ending = ending
        self._tiers = tiers
        self._ttl_s = ttl_s
        self._held: dict[str, Held] = {}
        self._lock = threading.RLock()  # held while a collection is opened, made, restored or dropped
        self._unopened: dict[str, str] = {}
        """Collections that could not be opened, and why."""

    # -- which one --------------------------------------------------------------------------------------------

    def known(self, name: str) -> Held | None:
        """The collection that is meant, if that and the collection are known without reading a file."""
        if name:
            held = self._held.get(name)
        elif len(self._held) == 1 and not self._unopened:
            held = next(iter(self._held.values()), None)
        else:
            held = self._held.get(self._policy.collection)
        return held if held is not None and self.is_current(held) else None

    def is_current(self, held: Held) -> bool:
        """Whether it is still the collection of its name: one that is given shards is closed, and another opened."""
        return self._store.opened(held.name) is held.collection

    def all(self) -> list[Held]:
        """Those that are open."""
        return list(self._held.values())

    def asked(self, asked: Any) -> Held:
        """The collection that is asked, opened if it is not. NotFound tells which there are."""
        name: str = asked.collection
        return self._opened(name or self._default())

    def done(self, work: Callable[[Held, Any], T], asked: Any) -> T:
        """What `work` makes of the collection that is asked; done again if it was closed meanwhile to be given shards."""
        held = self.asked(asked)
        try:
            return work(held, asked)
        except PacelineError:
            if self.is_current(held):
                raise
            return work(self.asked(asked), asked)

    def _default(self) -> str:
        names = self._store.names()
        if len(names) == 1:
            return names[0]
        if self._policy.collection in names:
            return self._policy.collection
        listed = ", ".join(names) or "none; create one"
        raise NotFound(
            f"no collection is named, and there is no {self._policy.collection!r}; there are: {listed}",
            param="collection",
        )

    def _opened(self, name: str) -> Held:
        held = self._held.get(name)
        if held is not None and self.is_current(held):
            return held
        with self._lock:
            held = self._held.get(name)
            return held if held is not None and self.is_current(held) else self._hold(name)

    def _hold(self, name: str) -> Held:
        try:
            collection = self._store.collection(name)
        except NotFound as error:
            raise NotFound(error.message, param="collection") from None
        held = Held(
            name,
            collection,
            self._store.folder / name,
            cache_of=self._cache_of,
            recheck_s=self._policy.recheck_s,
            ending=self._ending,
        )
        self._unopened.pop(name, None)
        self._held[name] = held
        return held

    def _cache_of(self, identity: str) -> QueryCache | None:
        return None if self._tiers is None else QueryCache(self._tiers, identity, self._ttl_s)

    # -- all of them ------------------------------------------------------------------------------------------

    def open_all(self) -> None:
        """Open those there are. FolderInUse; others that cannot be opened are told by `health`."""
        for name in self._store.names():
            try:
                self._opened(name)
            except FolderInUse:
                raise
            except PacelineError as error:
                self._unopened[name] = error.message
                log.error("collection %s is not served: %s", name, error.message)  # noqa: TRY400 - says it all

    def precisions(self) -> set[Precision]:
        """Of the open collections, or the one that a new collection would have."""
        return {held.collection.schema.precision for held in self.all()} or {"int8"}

    def list_all(self, _: ListCollections) -> Collections:
        """All there are; one that cannot be opened is left out, and told by `health`."""
        self.open_all()
        return Collections(collections=[held.card() for _, held in sorted(self._held.items())])

    def create(self, asked: CreateCollection) -> CollectionCard:
        """Make one."""
        schema, sample = operations.schema_of(asked)
        with self._lock:
            self._store.create(asked.name, schema, sample=sample, shards=asked.shards)
            return self._hold(asked.name).card()

    def drop(self, asked: DropCollection) -> Dropped:
        """Delete one, which must be named."""
        if not asked.collection:
            raise InvalidRequest("no collection is named; what is dropped must be", param="collection")
        with self._lock:
            held = self._opened(asked.collection)
            del self._held[held.name]
            self._store.drop(held.name)
        return Dropped()

    def reshard(self, asked: Reshard) -> Resharded:
        """Spread one over another number of shards. What is asked of it meanwhile is answered."""
        name = self.asked(asked).name
        done = self._store.reshard(name, asked.shards)
        self._opened(name)  # of its own identity if it has shards only now: its versions count anew
        return done

    def restore(self, name: str, snapshot: Path) -> CollectionCard:
        """Make one of a snapshot."""
        with self._lock:
            self._store.restore(name, snapshot)
            return self._hold(name).card()

    def apply(self, policy: VectorsPolicy) -> None:
        """Use another policy from now on, as far as it may change while running."""
        self._policy = policy
        self._store.policy = policy
        for held in self.all():
            held.collection.policy = policy
            held.recall.recheck_s = policy.recheck_s

    @property
    def ttl_s(self) -> float:
        """Life of answers kept from now on."""
        return self._ttl_s

    @ttl_s.setter
    def ttl_s(self, value: float) -> None:
        self._ttl_s = value
        for held in self.all():
            if held.cache is not None:
                held.cache.ttl_s = value

    # -- state ------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, float]:
        """Counters and sizes."""
        held = self.all()
        bounds = [one.recall.bound for one in held if one.recall.bound is not None]
        return {
            "collections": len(held),
            "unopened": len(self._unopened),
            "records": sum(one.seen()[0] for one in held),
            "checks_total": sum(one.recall.checks_total for one in held),
            "promises": sum(one.recall.kept is not None for one in held),
            "promises_broken": sum(one.recall.is_broken() for one in held),
            **({"recall_bound": min(bounds)} if bounds else {}),
        }

    def health(self) -> dict[str, object]:
        """`degraded` while a collection is not served, or its promise is broken, or its upkeep fails."""
        troubles = dict(self._unopened)
        for held in self.all():
            ailing = held.seen()[1] or ({"recall": held.recall.text()} if held.recall.is_broken() else {})
            if ailing:
                troubles[held.name] = "; ".join(f"{what}: {why}" for what, why in ailing.items())
        promises = {held.name: held.recall.text() for held in self.all() if held.recall.kept is not None}
        state: dict[str, object] = {
            "status": "degraded" if troubles else "ok",
            "collections": len(self._held),
        }
        if promises:
            state["promises"] = promises
        if troubles:
            state["troubles"] = troubles
        return state

    def close(self) -> None:
        """Close the store; what is cached is found again, if all writes are safe."""
        with self._lock:
            for held in self.all():
                held.leave()
            try:
                self._store.close()
            except StorageError:
                for held in self.all():
                    held.forget()
                raise
            self._held.clear()

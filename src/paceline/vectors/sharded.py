"""A collection in shards: records go to shards by the slot of their id, searches go to all shards at once.

A shard that fails or is late costs a search only its part, and the reply names it. A write to a shard that is missing
fails, and says what was written elsewhere; written again, it does no harm.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import msgspec

from paceline.base.errors import InvalidRequest, Unreachable
from paceline.vectors.codes import Precision
from paceline.vectors.fan_out import Call, Lane, close_all, each, every, left_s, told, whole
from paceline.vectors.gathered import Gathered, best, own
from paceline.vectors.glance import Glance
from paceline.vectors.metadata import Types, merged_types
from paceline.vectors.policy import Schema, VectorsPolicy
from paceline.vectors.record import Key, Match, Record, checked_id
from paceline.vectors.reencode import checked_change
from paceline.vectors.shard import Shard
from paceline.vectors.sharded_incoming import ShardedIncoming, Wanted
from paceline.vectors.sharded_parts import array_upserts, by_owner, deletes, fetches, upserts
from paceline.vectors.sharded_snapshot import take_snapshot
from paceline.vectors.slot_locks import SlotLocks
from paceline.vectors.slots import FILE, SLOTS, SlotMap, slot_of
from paceline.vectors.stats import CollectionStats, stats_of_shards
from paceline.vectors.write_count import WriteCount

T = TypeVar("T")

ALL_SLOTS: Final = range(SLOTS)


class ShardedCollection:
    """Shards by name, used as one collection: an `AnyCollection`; safe for any number of threads.

    `slots` says where records are; if `folder` is given it is kept there, and what is there already counts. `schema` is
    that of every shard.
    """

    def __init__(  # noqa: PLR0913 - keywords, each with a default
        self,
        shards: Mapping[str, Shard],
        schema: Schema,
        slots: SlotMap | None = None,
        *,
        folder: Path | None = None,
        policy: VectorsPolicy = VectorsPolicy(),  # noqa: B008 - frozen
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.file = None if folder is None else folder / FILE
        if self.file is not None and self.file.exists():
            slots = SlotMap.read(self.file)
        self.slots = SlotMap.of(sorted(shards)) if slots is None else slots
        if set(self.slots.shards) != set(shards):
            raise InvalidRequest(
                f"the slots are those of shards {sorted(self.slots.shards)}, given are {sorted(shards)}; give all "
                "of them, those that do not answer too",
                param="shards",
            )
        self.schema = schema
        self.policy = policy
        self._ef_of_shards = policy.search.ef
        self.lanes: Mapping[str, Lane] = {name: Lane(name, shard) for name, shard in shards.items()}
        """Replaced, never changed: read it once for all that belongs together."""
        found, _ = each(self.lanes, dict.fromkeys(shards, _version), policy.shards.write_timeout_s)
        self._writes = WriteCount(max(self.slots.version, sum(found.values())))
        self.put_slots(self.slots)
        self.locks = SlotLocks()
        self.rebalancing = threading.Lock()  # held while slots move
        self.is_closing = threading.Event()
        self.fresh: dict[int, set[Key]] = {}
        """Records written since slots began to move, by slot; of slots that will."""
        self.trouble = ""
        """Why slots that should move do not; shown by `stats`."""
        self._on_close = on_close
        self._incoming = ShardedIncoming(schema)
        self._glance = Glance()

    def put_slots(self, slots: SlotMap) -> None:
        """From now on records are where `slots` says; kept in the folder first."""
        slots = msgspec.structs.replace(slots, version=self.version)
        if self.file is not None:
            slots.write(self.file)
        self.slots = slots

    # -- search -----------------------------------------------------------------------------------------------

    def query(  # noqa: PLR0913 - keywords, each with a default
        self,
        vectors: Any,
        k: int = 10,
        *,
        filter: Wanted | None = None,  # noqa: A002
        namespace: str = "",
        ef: int | None = None,
        candidates: int | None = None,
        include_metadata: bool = False,
        include_vectors: bool = False,
        exact: bool = False,
        timeout_s: float | None = None,
    ) -> Gathered[list[Match]]:
        """The best `k` of all shards for each of `vectors` (q, d): see `Collection.query`.

        Shards that have not answered after `timeout_s` are missing. Unreachable if all are.
        """
        deadline_at = time.monotonic() + (self.policy.shards.timeout_s if timeout_s is None else timeout_s)
        wanted = None if filter is None else self._incoming.filter(filter, self.lanes, left_s(deadline_at))

        search = self.policy.search
        if ef is None and self._is_ef_overruled:
            ef = search.usual_ef
        if candidates is None:
            candidates = search.candidates

        def ask(shard: Shard, most: int) -> list[list[Match]]:
            return shard.query(
                vectors,
                most,
                filter=wanted,
                namespace=namespace,
                ef=ef,
                candidates=candidates,
                include_metadata=include_metadata,
                include_vectors=include_vectors,
                exact=exact,
            )

        return self._gathered(ask, k, deadline_at)

    def by_words(  # noqa: PLR0913 - keywords, each with a default
        self,
        text: str,
        k: int = 10,
        *,
        filter: Wanted | None = None,  # noqa: A002
        namespace: str = "",
        include_metadata: bool = False,
        include_vectors: bool = False,
    ) -> Gathered[Match]:
        """See `Collection.by_words`; a word is as rare as it is on its shard, so scores differ a little from one's."""
        deadline_at = time.monotonic() + self.policy.shards.timeout_s
        wanted = None if filter is None else self._incoming.filter(filter, self.lanes, left_s(deadline_at))

        def ask(shard: Shard, most: int) -> list[list[Match]]:
            return [
                shard.by_words(
                    text,
                    most,
                    filter=wanted,
                    namespace=namespace,
                    include_metadata=include_metadata,
                    include_vectors=include_vectors,
                )
            ]

        found = self._gathered(ask, k, deadline_at)
        return Gathered(found[0], found.missing)

    def _gathered(
        self, ask: Callable[[Shard, int], list[list[Match]]], k: int, deadline_at: float
    ) -> Gathered[list[Match]]:
        """The best of what all shards say when asked for so many."""

        def of_own(name: str, slots: SlotMap) -> Call[list[list[Match]]]:
            return lambda shard: own(lambda most: ask(shard, most), k, name, slots)

        with self.locks.searching():
            slots, lanes = self.slots, self.lanes
            found, missing = each(lanes, {name: of_own(name, slots) for name in lanes}, left_s(deadline_at))
        if not found:
            raise Unreachable(f"no shard answers: {told(missing)}")
        return Gathered(best(list(found.values()), k), missing)

    def fetch(
        self, ids: Sequence[str], *, namespace: str = "", include_vectors: bool = True
    ) -> dict[str, Record]:
        """See `Collection.fetch`. Unreachable if a shard that has one of them is missing."""
        with self.locks.searching():
            parts = by_owner(ids, self._has)
            calls = fetches(parts, namespace, include_vectors=include_vectors)
            found, missing = each(self.lanes, calls, self.policy.shards.timeout_s)
        if missing:
            raise Unreachable(f"{told(missing)}; {sum(len(parts[name]) for name in missing)} ids are there")
        return {name: record for part in found.values() for name, record in part.items()}

    # -- writes -----------------------------------------------------------------------------------------------

    def upsert(self, records: Iterable[Record]) -> int:
        """See `Collection.upsert`; what is wrong with a record refuses all, a missing shard costs its part."""
        given = self._incoming.records(records, self.policy.durability.most_batch)
        with self.locks.writing({slot_of(record.id) for record in given}):
            return sum(self._written(upserts(given, self._takes)))

    def upsert_arrays(
        self,
        ids: Sequence[str],
        vectors: Any,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        *,
        namespace: str = "",
    ) -> int:
        """See `Collection.upsert_arrays`, and `upsert`."""
        most = self.policy.durability.most_batch
        keys, rows, given = self._incoming.arrays(ids, vectors, metadata, namespace, most)
        with self.locks.writing({slot_of(name) for _, name in keys}):
            return sum(self._written(array_upserts(keys, rows, given, self._takes)))

    def _takes(self, key: Key) -> str:
        """The shard that takes a record; to be called while its slot is held for writing."""
        slot = slot_of(key[1])
        if slot in self.fresh:
            self.fresh[slot].add(key)
        return self.slots.owner(slot)

    def update(
        self,
        id: str,  # noqa: A002 - its name in the API
        *,
        metadata: Mapping[str, Any] | None = None,
        vector: Any = None,
        namespace: str = "",
    ) -> None:
        """See `Collection.update`."""
        slot = slot_of(checked_id(id))
        with self.locks.writing({slot}):
            self._written(
                {
                    self.slots.owner(slot): lambda shard: shard.update(
                        id, metadata=metadata, vector=vector, namespace=namespace
                    )
                }
            )

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Wanted | None = None,  # noqa: A002
        namespace: str = "",
        everything: bool = False,
    ) -> int:
        """See `Collection.delete`."""
        if (ids is not None) + (filter is not None) + everything != 1:
            raise InvalidRequest("say what to delete: one of ids, filter, everything", param="ids")
        if ids is not None:
            with self.locks.writing({slot_of(checked_id(name)) for name in ids}):
                return sum(self._written(deletes(by_owner(ids, self._has), namespace)))
        wanted = (
            None
            if filter is None
            else self._incoming.filter(filter, self.lanes, self.policy.shards.timeout_s)
        )
        with self.locks.writing(ALL_SLOTS):
            return sum(
                self._written(
                    {
                        name: lambda shard: shard.delete(
                            filter=wanted, namespace=namespace, everything=everything
                        )
                        for name in self.lanes
                    }
                )
            )

    @property
    def _is_ef_overruled(self) -> bool:
        """Whether another was set since the shards were opened, each with the policy of then."""
        return self.policy.search.ef != self._ef_of_shards

    # -- what there is ----------------------------------------------------------------------------------------

    @property
    def default_ef(self) -> int:
        """How far a search that says nothing looks on the shard that looks farthest, as `records` found it last.

        Each shard looks as far as its own graph needs. Asks no shard.
        """
        usual = self.policy.search.usual_ef
        return usual if self._is_ef_overruled else max(usual, self._glance.farthest)

    @property
    def version(self) -> int:
        """Rises with every write; the same number, the same answers of searches that miss no shard. Asks no shard."""
        return self._writes.count

    @property
    def records(self) -> int:
        """How many there are on the shards that answer at once; while slots move, copies are counted too."""
        found, _ = self._glance.look(self.lanes, self.version)
        return sum(seen.records for seen in found.values())

    @property
    def troubles(self) -> dict[str, str]:
        """What is wrong, by SHARD/WHAT; a shard that is missing, by its name."""
        found, missing = self._glance.look(self.lanes, self.version)
        named = {f"{name}/{what}": why for name, seen in found.items() for what, why in seen.troubles.items()}
        return {**named, **missing, **({"reshard": self.trouble} if self.trouble else {})}

    @property
    def types(self) -> Types:
        """Fields of the metadata of all shards that answer."""
        found, _ = every(self.lanes, lambda shard: shard.types, self.policy.shards.timeout_s)
        return merged_types(found.values())

    def all_keys(self) -> Iterator[Key]:
        """Namespace and id of every record, as of now, in no order. Unreachable if a shard is missing."""
        with self.locks.searching():  # so that nothing that has moved meanwhile is missed
            slots, lanes = self.slots, self.lanes
            found = whole(lanes, lambda shard: list(shard.all_keys()))
        return (key for name, keys in found.items() for key in keys if slots.owner(slot_of(key[1])) == name)

    def stats(self) -> CollectionStats:
        """Of each shard, and summed; shards that do not answer are named in it. Unreachable if none does."""
        found, missing = every(self.lanes, lambda shard: shard.stats(), self.policy.shards.timeout_s)
        stats = stats_of_shards(found, missing, self.schema.dimensions)
        if self.trouble:
            stats = msgspec.structs.replace(stats, troubles={**stats.troubles, "reshard": self.trouble})
        return stats

    # -- care -------------------------------------------------------------------------------------------------

    def snapshot(self, folder: Path) -> None:
        """See `Collection.snapshot`; writes wait while it is taken. Unreachable if a shard is missing."""
        with self.locks.holding(ALL_SLOTS):
            take_snapshot(self.lanes, self.slots, folder)

    def verify(self) -> dict[str, str]:
        """See `Collection.verify`; by SHARD/NUMBER, all shards at once. Unreachable if one is missing."""
        found = whole(self.lanes, lambda shard: shard.verify())
        return {f"{name}/{at}": why for name, damaged in found.items() for at, why in damaged.items()}

    def reencode(self, precision: Precision) -> None:
        """See `Collection.reencode`. Unreachable if a shard is missing: asked again, all are of one precision."""
        schema = checked_change(self.schema, precision)
        whole(self.lanes, lambda shard: shard.reencode(precision))
        self.schema = schema

    def settle(self) -> None:
        """See `Collection.settle`."""
        whole(self.lanes, lambda shard: shard.settle())

    def compact(self) -> None:
        """See `Collection.compact`; all shards at once. Unreachable names those that could not, after the others."""
        whole(self.lanes, lambda shard: shard.compact())
        self._glance.forget()  # graphs that were built now know how far to look

    def close(self) -> None:
        """Close all shards; slots that move stop where they are. May be called twice."""
        if self.is_closing.is_set():
            return
        self.is_closing.set()
        with self.rebalancing, ExitStack() as last:
            last.callback(self._on_close)
            last.callback(close_all, self.lanes)
            self.put_slots(self.slots)  # with the version

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- all shards at once -----------------------------------------------------------------------------------

    def _has(self, name: str) -> str:
        """The shard that has records of this id."""
        return self.slots.owner(slot_of(name))

    def _written(self, calls: Mapping[str, Call[T]]) -> list[T]:
        """Results of a write that all shards concerned have to take."""
        counted = {name: self._writes.counted(call) for name, call in calls.items()}
        found, missing = each(self.lanes, counted, self.policy.shards.write_timeout_s)
        if missing:
            raise Unreachable(
                f"{told(missing)}; {len(found)} of {len(calls)} shards took their part: write it again once all are there"
            )
        return list(found.values())


def _version(shard: Shard) -> int:
    return shard.version

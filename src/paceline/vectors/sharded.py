"""A collection in shards: records go to shards by the slot of their id, searches go to all shards at once.

A shard that fails or is late costs a search only its part, and the reply names it. A write to a shard that is missing
fails, and says what was written elsewhere; written again, it does no harm.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from paceline.base.errors import InvalidRequest, NotFound, PacelineError, Unreachable
from paceline.vectors.filters import Filter
from paceline.vectors.metadata import Types, merged_types
from paceline.vectors.record import Key, Match, Record, checked_id
from paceline.vectors.shard import Lane, Shard
from paceline.vectors.slot_locks import SlotLocks
from paceline.vectors.slots import SLOTS, SlotMap, slot_of

T = TypeVar("T")
Call = Callable[[Shard], T]
Wanted = Mapping[str, Any] | Filter

SLOTS_FILE: Final = "slots.json"
ALL_SLOTS: Final = range(SLOTS)


class Gathered(msgspec.Struct, frozen=True):
    """What the shards found."""

    matches: list[list[Match]]
    missing: dict[str, str]
    """Shards whose records were not looked at, and why."""

    @property
    def partial(self) -> bool:
        """Whether there may be better matches than these."""
        return bool(self.missing)


class ShardedCollection:
    """Shards by name, used as one collection; safe for any number of threads.

    `slots` says where records are; if `folder` is given it is kept there, and what is there already counts.
    """

    def __init__(
        self,
        shards: Mapping[str, Shard],
        slots: SlotMap | None = None,
        *,
        folder: Path | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self.file = None if folder is None else folder / SLOTS_FILE
        if self.file is not None and self.file.exists():
            slots = SlotMap.read(self.file)
        self.slots = SlotMap.of(sorted(shards)) if slots is None else slots
        if set(self.slots.shards) != set(shards):
            raise InvalidRequest(
                f"the slots are those of shards {sorted(self.slots.shards)}, given are {sorted(shards)}; give all "
                "of them, those that do not answer too",
                param="shards",
            )
        self.put_slots(self.slots)
        self.timeout_s = timeout_s
        self.lanes = {name: Lane(name, shard) for name, shard in shards.items()}
        self.locks = SlotLocks()
        self.rebalancing = threading.Lock()  # held while slots move
        self.fresh: dict[int, set[Key]] = {}
        """Records written since slots began to move, by slot; of slots that will."""
        self._types: Types = {}

    def put_slots(self, slots: SlotMap) -> None:
        """From now on records are where `slots` says; kept in the folder first."""
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
        timeout_s: float | None = None,
    ) -> Gathered:
        """The best `k` of all shards for each of `vectors` (q, d): see `Collection.query`.

        Shards that have not answered after `timeout_s` are missing. Unreachable if all are.
        """
        deadline_at = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        wanted = None if filter is None else self._filter(filter, deadline_at)

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
            )

        with self.locks.searching():
            slots = self.slots
            found, missing = self._all(
                lambda name: lambda shard: _own(lambda most: ask(shard, most), k, name, slots), deadline_at
            )
        return Gathered(_best(list(found.values()), k), missing)

    def fetch(
        self, ids: Sequence[str], *, namespace: str = "", include_vectors: bool = True
    ) -> dict[str, Record]:
        """See `Collection.fetch`. Unreachable if a shard that has one of them is missing."""
        with self.locks.searching():
            parts = self._by_owner(ids)

            def call(part: list[str]) -> Call[dict[str, Record]]:
                return lambda shard: shard.fetch(part, namespace=namespace, include_vectors=include_vectors)

            calls = {name: call(part) for name, part in parts.items()}
            found, missing = self._each(calls, time.monotonic() + self.timeout_s)
        if missing:
            raise Unreachable(f"{_told(missing)}; {sum(len(parts[name]) for name in missing)} ids are there")
        return {name: record for part in found.values() for name, record in part.items()}

    # -- writes -----------------------------------------------------------------------------------------------

    def upsert(self, records: Iterable[Record]) -> int:
        """See `Collection.upsert`; all or none on each shard, not among shards."""
        given = list(records)
        with self.locks.writing(
            {slot_of(checked_id(record.id, f"records[{i}].id")) for i, record in enumerate(given)}
        ):
            parts: dict[str, list[Record]] = {}
            for record in given:
                slot = slot_of(record.id)
                parts.setdefault(self.slots.owner(slot), []).append(record)
                if slot in self.fresh:
                    self.fresh[slot].add((record.namespace, record.id))
            return sum(self._written({name: _upsert(part) for name, part in parts.items()}))

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
                parts = self._by_owner(ids)
                return sum(self._written({name: _delete(part, namespace) for name, part in parts.items()}))
        wanted = None if filter is None else self._filter(filter, time.monotonic() + self.timeout_s)
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

    # -- what there is ----------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Rises with every write of every shard. Unreachable if one is missing."""
        found, missing = self._all(lambda _: lambda shard: shard.version, time.monotonic() + self.timeout_s)
        if missing:
            raise Unreachable(_told(missing))
        return sum(found.values())

    def close(self) -> None:
        """Close all shards; the first error of one is raised when all are."""
        errors = []
        for lane in self.lanes.values():
            try:
                lane.close()
            except PacelineError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    # -- all shards at once -----------------------------------------------------------------------------------

    def _filter(self, wanted: Wanted, deadline_at: float) -> Filter:
        """The filter, checked against the fields of all shards: one shard alone may not have them all."""
        if isinstance(wanted, Filter):
            return wanted
        parsed = Filter.parse(wanted)
        try:
            parsed.check(self._types)
        except InvalidRequest:
            found, missing = self._all(lambda _: lambda shard: shard.types, deadline_at)
            self._types = merged_types(found.values())
            if self._types and not missing:  # otherwise nobody can say that there is no such field
                parsed.check(self._types)
        return parsed

    def _by_owner(self, ids: Sequence[str]) -> dict[str, list[str]]:
        parts: dict[str, list[str]] = {}
        for name in ids:
            parts.setdefault(self.slots.owner(slot_of(checked_id(name))), []).append(name)
        return parts

    def _all(self, call: Callable[[str], Call[T]], deadline_at: float) -> tuple[dict[str, T], dict[str, str]]:
        """Results by shard, and the shards that are missing; Unreachable if all are."""
        found, missing = self._each({name: call(name) for name in self.lanes}, deadline_at)
        if not found:
            raise Unreachable(f"no shard answers: {_told(missing)}")
        return found, missing

    def _each(self, calls: Mapping[str, Call[T]], deadline_at: float) -> tuple[dict[str, T], dict[str, str]]:
        """Results by shard, and why the others have none. What is the caller's fault is raised."""
        running: dict[str, Future[T]] = {name: self.lanes[name].start(call) for name, call in calls.items()}
        wait(running.values(), max(0.0, deadline_at - time.monotonic()))
        found, missing = {}, {}
        for name, future in running.items():
            if not future.done():
                missing[name] = "no answer in time"
                continue
            try:
                found[name] = future.result()
            except (InvalidRequest, NotFound):
                raise
            except Exception as error:  # noqa: BLE001 - whatever ails one shard must not cost the others' parts
                missing[name] = str(error) or type(error).__name__
        return found, missing

    def _written(self, calls: Mapping[str, Call[T]]) -> list[T]:
        """Results of a write that all shards concerned have to take."""
        found, missing = self._each(calls, time.monotonic() + self.timeout_s)
        if missing:
            raise Unreachable(
                f"{_told(missing)}; {len(found)} of {len(calls)} shards took their part: write it again once all are there"
            )
        return list(found.values())


def _upsert(part: list[Record]) -> Call[int]:
    return lambda shard: shard.upsert(part)


def _delete(part: list[str], namespace: str) -> Call[int]:
    return lambda shard: shard.delete(part, namespace=namespace)


def _own(ask: Callable[[int], list[list[Match]]], k: int, shard: str, slots: SlotMap) -> list[list[Match]]:
    """What a shard finds among the records that are its own: while a slot moves, two shards hold copies."""
    most = k
    while True:
        found = ask(most)
        own = [[match for match in one if slots.owner(slot_of(match.id)) == shard] for one in found]
        strange = max((len(one) - len(kept) for one, kept in zip(found, own, strict=True)), default=0)
        full = any(len(one) == most and len(kept) < k for one, kept in zip(found, own, strict=True))
        if strange == 0 or not full:
            return own
        most = k + 2 * strange


def _best(parts: list[list[list[Match]]], k: int) -> list[list[Match]]:
    """The best `k` of each query among those of all shards; equals by id, so that the answer is always the same."""
    return [
        sorted((match for found in one for match in found), key=lambda match: (-match.score, match.id))[:k]
        for one in zip(*parts, strict=True)
    ]


def _told(missing: Mapping[str, str]) -> str:
    return "; ".join(f"shard {name!r} is missing ({why})" for name, why in sorted(missing.items()))

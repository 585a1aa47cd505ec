"""Shards join a collection, or leave it, while it is used: slots move, each copied, handed over, then deleted.

    copy      a slot's records to the new shard; searches still count the old copies only
    hand over the map of slots says so, on disk; from here on the new copies count
    delete    the old copies, when the searches that began before are over

Slots of few records move some at a time, as each step waits for the disk. A write waits while its own slot moves, a
thousandth of all records or some hundreds; nothing else does. Whatever happens in between, each record counts once, and
calling `rebalance` again goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from paceline.base.errors import InvalidRequest, PacelineError
from paceline.vectors.fan_out import Lane, close_all
from paceline.vectors.record import Key
from paceline.vectors.shard import Shard
from paceline.vectors.sharded import ALL_SLOTS, ShardedCollection
from paceline.vectors.slots import Move, slot_of

_BATCH: Final = 500
_MOST_SLOTS: Final = 16
Progress = Callable[[int, int], None]
"""Told how many slots of how many have moved."""


class Rebalanced(msgspec.Struct, frozen=True):
    """What has moved."""

    moves: list[Move]
    records: int


def add_shards(collection: ShardedCollection, shards: Mapping[str, Shard]) -> None:
    """Let empty shards join; they are given slots by `rebalance`. InvalidRequest if a name is taken."""
    taken = sorted(set(shards) & set(collection.slots.shards))
    if taken or not shards:
        raise InvalidRequest(
            f"shards {taken} are there already; give new ones, each by a new name", param="shards"
        )
    with collection.locks.holding(ALL_SLOTS):
        collection.lanes = {**collection.lanes, **{name: Lane(name, shard) for name, shard in shards.items()}}
        collection.put_slots(collection.slots.joined_by(list(shards)))


def rebalance(collection: ShardedCollection, progress: Progress = lambda _moved, _all: None) -> Rebalanced:
    """Move slots until each is where rendezvous hashing wants it. What a shard raises ends it, and closing does.

    Shards that leave have no slots afterwards; `drop_leaving` lets them go.
    """
    if not collection.rebalancing.acquire(blocking=False):
        raise InvalidRequest("slots of this collection are moving already; wait until that is done")
    try:
        moves, records = collection.slots.moves(), 0
        collection.put_slots(msgspec.structs.replace(collection.slots, is_moving=True))
        collection.fresh = {move.slot: set() for move in moves}
        known = _known(collection)
        moved = 0
        for group in _groups(moves, {slot: len(keys) for slot, keys in known.items()}):
            if collection.is_closing.is_set():
                raise PacelineError(
                    f"the collection was closed after {moved} of {len(moves)} slots had moved; the others move when "
                    "it is open again"
                )
            with collection.locks.holding({move.slot for move in group}):
                keys = {
                    key for move in group for key in known.pop(move.slot) | collection.fresh.pop(move.slot)
                }
                records += _move(collection, group, keys)
            moved += len(group)
            progress(moved, len(moves))
        collection.put_slots(msgspec.structs.replace(collection.slots, is_moving=False))
        return Rebalanced(moves, records)
    finally:
        collection.fresh = {}
        collection.rebalancing.release()


def drop_leaving(collection: ShardedCollection) -> list[str]:
    """Let the shards go that leave and have no slots any more; returns their names, and they are closed."""
    leaving = collection.slots.leaving
    with collection.locks.holding(ALL_SLOTS):
        collection.put_slots(collection.slots.without_leaving())
        kept = {name: lane for name, lane in collection.lanes.items() if name not in leaving}
        going = {name: collection.lanes[name] for name in leaving}
        collection.lanes = kept
    collection.locks.wait_for_searches()
    close_all(going)
    return list(leaving)


def _known(collection: ShardedCollection) -> dict[int, set[Key]]:
    """Records of the slots that will move; those written from now on are in `collection.fresh`.

    What an interrupted move left on a shard that does not count it is deleted on the way.
    """
    known: dict[int, set[Key]] = {slot: set() for slot in collection.fresh}
    with collection.locks.holding(known):  # writes that began before `fresh` was there are over
        pass
    for name, lane in collection.lanes.items():
        strange = []
        for key in lane.shard.all_keys():
            slot = slot_of(key[1])
            if collection.slots.owner(slot) != name:
                strange.append(key)
            elif slot in known:
                known[slot].add(key)
        _delete(lane.shard, strange)
    return known


def _groups(moves: Sequence[Move], counts: Mapping[int, int]) -> Iterator[list[Move]]:
    """Moves that are made at once: between the same two shards, of few slots and records, or of one slot."""
    group: list[Move] = []
    total = 0
    for move in sorted(moves, key=lambda move: (move.source, move.target)):
        total += counts[move.slot]
        if group and (
            (move.source, move.target) != (group[0].source, group[0].target)
            or len(group) == _MOST_SLOTS
            or total > _BATCH
        ):
            yield group
            group, total = [], counts[move.slot]
        group.append(move)
    if group:
        yield group


def _move(collection: ShardedCollection, group: Sequence[Move], keys: set[Key]) -> int:
    """Copy, hand over, delete; the slots' writes are held off. Returns how many records there were."""
    source, target = collection.lanes[group[0].source].shard, collection.lanes[group[0].target].shard
    moved = 0
    for namespace, names in _batches(keys):
        records = source.fetch(names, namespace=namespace)
        if records:
            moved += target.take_over(records.values())
    collection.put_slots(collection.slots.after(*group))
    collection.locks.wait_for_searches()
    _delete(source, keys)
    return moved


def _delete(shard: Shard, keys: Iterable[Key]) -> None:
    for namespace, names in _batches(keys):
        shard.delete(names, namespace=namespace)


def _batches(keys: Iterable[Key]) -> Iterator[tuple[str, list[str]]]:
    """Ids in batches of one namespace each."""
    spaces: dict[str, list[str]] = {}
    for namespace, name in keys:
        spaces.setdefault(namespace, []).append(name)
    for namespace, names in spaces.items():
        for start in range(0, len(names), _BATCH):
            yield namespace, names[start : start + _BATCH]

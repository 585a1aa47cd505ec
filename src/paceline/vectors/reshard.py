"""Another number of shards, while the collection is used: `reshard`; and what a crash interrupted goes on: `go_on`.

New shards are made empty and join; those that are too many leave, the last first; then slots move. Each step is written
down before the next begins, so that whatever interrupts it, the next opening finds which shards count and what has still
to move.
"""

from __future__ import annotations

import threading

from paceline.base.errors import InvalidRequest, PacelineError, Unreachable
from paceline.base.vectors_collections import Resharded
from paceline.vectors.rebalance import Progress, add_shards, drop_leaving, rebalance
from paceline.vectors.shard import Shard
from paceline.vectors.shard_keeper import wait_s
from paceline.vectors.sharded import ALL_SLOTS, ShardedCollection
from paceline.vectors.sharded_folder import ShardedFolder, shard_names


def reshard(
    collection: ShardedCollection,
    folder: ShardedFolder,
    shards: int,
    progress: Progress = lambda _moved, _all: None,
) -> Resharded:
    """Spread the collection over so many shards; returns what has moved once all has.

    InvalidRequest on a number that cannot be or while slots move already; Unreachable if a shard is missing: asked again
    it goes on where it was.
    """
    names = shard_names(shards)
    if not folder.resharding.acquire(blocking=False):
        raise InvalidRequest("slots of this collection are moving already; wait until that is done")
    try:
        new = [name for name in names if name not in collection.slots.shards]
        if new:
            folder.make(new, collection.slots.shards)
            _join(collection, folder.open(new))
        with collection.locks.holding(ALL_SLOTS):
            collection.put_slots(collection.slots.staying(names))
        return _moved(collection, folder, progress)
    finally:
        folder.resharding.release()


def _join(collection: ShardedCollection, shards: dict[str, Shard]) -> None:
    """Let new shards join, unless one of them does not answer."""
    try:
        for name, shard in shards.items():
            try:
                shard.version  # noqa: B018 - asked for what it raises
            except PacelineError as error:
                raise Unreachable(
                    f"new shard {name!r} does not answer ({error.message}); ask again"
                ) from error
        add_shards(collection, shards)
    except (
        BaseException
    ):  # whatever it was: they have not joined, and are removed by the next `make` or opening
        for shard in shards.values():
            shard.close()
        raise


def _moved(collection: ShardedCollection, folder: ShardedFolder, progress: Progress) -> Resharded:
    done = rebalance(collection, progress)
    for name in drop_leaving(collection):
        folder.remove(name)
    return Resharded(slots_moved=len(done.moves), records_moved=done.records)


def go_on(collection: ShardedCollection, folder: ShardedFolder) -> threading.Thread | None:
    """Finish what was interrupted, in a thread that ends with the collection; None if there is nothing to finish.

    While it fails it is tried again, ever later; `stats` tells why.
    """
    slots = collection.slots
    if not (slots.is_moving or slots.leaving or slots.moves()):
        return None

    def work() -> None:
        tries = 0
        while not collection.is_closing.wait(wait_s(tries)):
            try:
                with folder.resharding:
                    _moved(collection, folder, lambda _moved, _all: None)
            except PacelineError as error:
                collection.trouble = error.message
            else:
                collection.trouble = ""
                return
            tries += 1

    thread = threading.Thread(target=work, name="vectors-reshard", daemon=True)
    thread.start()
    return thread

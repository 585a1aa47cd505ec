"""Which shard holds a record: an id hashes to one of 1,024 slots for ever, and a slot belongs to a shard.

Slots are given to shards by rendezvous hashing (Thaler and Ravishankar 1998): each slot goes to the shard whose name
hashes highest with it. A new shard therefore takes slots from all others and moves none between them: of 20 shards that
become 22, two in 22 of the records move, about 9 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec
import xxhash

from paceline.base.errors import ConfigError, StorageDamaged
from paceline.vectors.disk import replace_file, told

SLOTS: Final = 1024
MOST_SHARDS: Final = 256
"""A quarter of the slots, so that no shard is left without records."""


FILE: Final = "slots.json"


class Move(msgspec.Struct, frozen=True):
    """One slot from one shard to another."""

    slot: int
    source: str
    target: str


def slot_of(name: str) -> int:
    """The slot of an id, in whatever namespace."""
    return int(xxhash.xxh3_64_intdigest(name.encode()) % SLOTS)


class SlotMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shards, and to which of them each slot belongs now: while slots move, not where they will be."""

    shards: tuple[str, ...]
    owners: tuple[int, ...]
    """(SLOTS,) places in `shards`."""
    leaving: tuple[str, ...] = ()
    """Shards that give their slots to the others, and go when they have none."""
    is_moving: bool = False
    """Slots move; after a crash, copies that do not count may lie about."""
    version: int = 0
    """Of the collection when this was written; it never counts less, whichever shards have gone."""

    def __post_init__(self) -> None:
        if not self.shards or len(set(self.shards)) < len(self.shards):
            raise ConfigError(f"shards are {list(self.shards)}; name each differently, and one at least")
        if len(self.owners) != SLOTS or not set(self.owners) <= set(range(len(self.shards))):
            raise ConfigError(f"{len(self.owners)} slots are given to shards; all {SLOTS} must be")
        if not set(self.leaving) < set(self.shards):
            raise ConfigError(f"of shards {list(self.shards)} {list(self.leaving)} leave; one at least stays")

    @classmethod
    def of(cls, shards: Sequence[str]) -> Self:
        """Slots as rendezvous hashing gives them to shards of these names, in whatever order."""
        names = tuple(shards)
        if not names:
            raise ConfigError("no shards are named; one at least holds the records")
        return cls(names, tuple(max(range(len(names)), key=_pull(slot, names)) for slot in range(SLOTS)))

    def owner(self, slot: int) -> str:
        """The shard of a slot."""
        return self.shards[self.owners[slot]]

    def slots_of(self, shard: str) -> list[int]:
        """The slots of a shard."""
        place = self.shards.index(shard)
        return [slot for slot, owner in enumerate(self.owners) if owner == place]

    def joined_by(self, shards: Sequence[str]) -> Self:
        """With more shards, which have no slots yet."""
        return msgspec.structs.replace(self, shards=(*self.shards, *shards))

    def staying(self, shards: Sequence[str]) -> Self:
        """With all others leaving."""
        leaving = tuple(name for name in self.shards if name not in shards)
        return msgspec.structs.replace(self, leaving=leaving)

    def without_leaving(self) -> Self:
        """Without those that leave, which have no slots any more."""
        assert not any(self.slots_of(name) for name in self.leaving)
        kept = tuple(name for name in self.shards if name not in self.leaving)
        owners = tuple(kept.index(self.owner(slot)) for slot in range(SLOTS))
        return msgspec.structs.replace(self, shards=kept, owners=owners, leaving=())

    def after(self, *moves: Move) -> Self:
        """With slots moved."""
        owners = list(self.owners)
        for move in moves:
            owners[move.slot] = self.shards.index(move.target)
        return msgspec.structs.replace(self, owners=tuple(owners))

    def moves(self) -> list[Move]:
        """What has to move until every slot is where rendezvous hashing wants it."""
        wanted = type(self).of([name for name in self.shards if name not in self.leaving])
        return [
            Move(slot, self.owner(slot), wanted.owner(slot))
            for slot in range(SLOTS)
            if self.owner(slot) != wanted.owner(slot)
        ]

    @classmethod
    def read(cls, file: Path) -> Self:
        """The map that `write` left. FileNotFoundError if there is none, StorageDamaged if it is none."""
        with told(f"{file} cannot be read"):
            text = file.read_bytes()
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, ConfigError) as error:
            raise StorageDamaged(
                f"{file} is no map of slots ({error}); restore it from a snapshot"
            ) from error

    def write(self, file: Path) -> None:
        """Replace the file, whole or not at all; it survives a power cut when this returns. StorageError."""
        replace_file(file, msgspec.json.encode(self))


def _pull(slot: int, names: tuple[str, ...]) -> Callable[[int], int]:
    """How strongly each shard draws a slot."""
    return lambda place: int(xxhash.xxh3_64_intdigest(f"{slot}:{names[place]}".encode()))

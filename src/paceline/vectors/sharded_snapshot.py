"""Snapshots of a sharded collection: those of its shards, and the map of slots, in one folder.

It is a whole sharded collection: open it where it is, or `restore` it elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from paceline.base.errors import InvalidRequest, Unreachable
from paceline.vectors import snapshot as plain
from paceline.vectors.disk import made_folder
from paceline.vectors.fan_out import Call, Lane, each, told
from paceline.vectors.slots import FILE, SlotMap

_TIMEOUT_S: Final = 120.0
"""A shard may have to end a publication first; writes wait as long."""


def take_snapshot(lanes: Mapping[str, Lane], slots: SlotMap, folder: Path) -> None:
    """Put into `folder`, which must not exist, what the shards hold now; for a caller who holds off writes and moves.

    Unreachable if a shard is missing; then there is no folder.
    """
    with _new(folder) as part:
        calls = {name: _into(part / name) for name in lanes}
        _, missing = each(lanes, calls, _TIMEOUT_S)
        if missing:
            raise Unreachable(f"{told(missing)}; take the snapshot once all shards are there")
        slots.write(part / FILE)


def _into(folder: Path) -> Call[None]:
    return lambda shard: shard.snapshot(folder)


def restore(snapshot: Path, folder: Path) -> None:
    """Make the sharded collection `folder`, which must not exist, of a snapshot that is not open. StorageDamaged."""
    slots = SlotMap.read(snapshot / FILE)
    with _new(folder) as part:
        for name in slots.shards:
            plain.restore(snapshot / name, part / name)
        slots.write(part / FILE)


def _new(folder: Path) -> AbstractContextManager[Path]:
    if folder.exists():
        raise InvalidRequest(f"{folder} exists; choose a folder that does not", param="folder")
    return made_folder(folder)

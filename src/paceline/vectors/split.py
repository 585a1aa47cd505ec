"""A collection that had no shards becomes the first shard of one that has, in its own folder: `split`.

shard-000/   links to its files, as a snapshot has them
slots.json   from here on the folder is a sharded one
the rest of the former collection is removed, now or at the next opening
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from paceline.vectors.disk import sync_folder, told
from paceline.vectors.files import DELETED, LOG, PREPROCESS, SEGMENTS
from paceline.vectors.manifest import NAME
from paceline.vectors.sharded_folder import shard_names
from paceline.vectors.slots import FILE, SlotMap
from paceline.vectors.snapshot import restore

_FOLDERS: Final = (LOG, SEGMENTS, DELETED, PREPROCESS)


def split(folder: Path) -> None:
    """Make the collection in `folder`, which is not open, a sharded one of one shard. StorageError, StorageFull."""
    (name,) = shard_names(1)
    with told(f"{folder} cannot be written"):
        shutil.rmtree(folder / name, ignore_errors=True)  # what an interrupted try left
        restore(folder, folder / name)
        SlotMap.of([name]).write(folder / FILE)
        remove_plain(folder)


def remove_plain(folder: Path) -> None:
    """Remove what is left of the collection that a sharded one was made of; nothing, mostly. StorageError."""
    if not (folder / NAME).exists():
        return
    with told(f"{folder} cannot be cleaned"):
        for name in _FOLDERS:
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / NAME).unlink()
        sync_folder(folder)

"""Several collections in one folder, by name: `VectorStore`."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path
from typing import Any, Final, Self

from paceline.base.errors import InvalidRequest, NotFound
from paceline.base.vectors_collections import Resharded
from paceline.vectors.collection import Collection
from paceline.vectors.disk import PART, sync_folder, told
from paceline.vectors.manifest import NAME
from paceline.vectors.policy import Schema, VectorsPolicy
from paceline.vectors.rebalance import Progress
from paceline.vectors.reshard import go_on, reshard
from paceline.vectors.sharded import ShardedCollection
from paceline.vectors.sharded_folder import ShardedFolder, create_folder, open_sharded, shard_names
from paceline.vectors.sharded_snapshot import restore as restore_sharded
from paceline.vectors.slots import FILE
from paceline.vectors.snapshot import restore
from paceline.vectors.split import remove_plain, split

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NAMES: Final = "1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit"


class VectorStore:
    """A folder of collections, each opened when it is first asked for; safe for any number of threads."""

    def __init__(self, folder: Path, policy: VectorsPolicy = VectorsPolicy()) -> None:  # noqa: B008 - frozen
        self.folder = folder
        self.policy = policy
        self._open: dict[str, Collection | ShardedCollection] = {}
        self._sharded: dict[str, ShardedFolder] = {}
        """Of those with shards: who makes and removes these."""
        self._lock = threading.RLock()  # protects both; held while a collection is opened or made
        with told(f"{folder} cannot be made"):
            folder.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """The collections there are, sorted."""
        found = {file.parent.name for what in (NAME, FILE) for file in self.folder.glob(f"*/{what}")}
        return sorted(name for name in found if _NAME.fullmatch(name))

    def create(
        self, name: str, schema: Schema, *, sample: Any = None, shards: int = 1
    ) -> Collection | ShardedCollection:
        """Make a collection, of several `shards` if it is more than one. InvalidRequest if there is one of this name.

        `sample`: vectors from which pca learns.
        """
        with self._lock:
            folder = self._folder(name)
            if folder.exists():
                raise InvalidRequest(
                    f"collection {name!r} exists; drop it, or choose another name", param="name"
                )
            if shards == 1:
                made = Collection.create(folder, schema, sample=sample, policy=self.policy)
                self._open[name] = made
                return made
            create_folder(folder, schema, shards, sample)
            return self.collection(name)

    def collection(self, name: str, *, skip_damaged: bool = False) -> Collection | ShardedCollection:
        """The collection of this name, opened if it is not. NotFound tells which there are.

        Slots that a crash left moving go on to move, beside.
        """
        known = self._open.get(name)
        if known is not None:
            return known
        with self._lock:
            folder = self._folder(name)
            if name not in self._open:
                if (folder / FILE).exists():
                    remove_plain(folder)
                    opened, self._sharded[name] = open_sharded(folder, self.policy, skip_damaged=skip_damaged)
                    self._open[name] = opened
                    go_on(opened, self._sharded[name])
                elif (folder / NAME).exists():
                    self._open[name] = Collection.open(folder, policy=self.policy, skip_damaged=skip_damaged)
                else:
                    listed = ", ".join(self.names()) or "none"
                    raise NotFound(f"no collection {name!r}; there are: {listed}", param="name")
            return self._open[name]

    def opened(self, name: str) -> Collection | ShardedCollection | None:
        """The collection of this name if it is open now, at once."""
        return self._open.get(name)

    def drop(self, name: str) -> None:
        """Close a collection and delete it. NotFound."""
        with self._lock:
            self.collection(name)
            self._close(name)
            folder = self._folder(name)
            going = folder.with_name(f"{name}.dropped{PART}")  # gone at once for all; its files take longer
            with told(f"{folder} cannot be deleted"):
                shutil.rmtree(going, ignore_errors=True)
                folder.rename(going)
                sync_folder(self.folder)
                shutil.rmtree(going)

    def restore(self, name: str, snapshot: Path) -> Collection | ShardedCollection:
        """Make a collection of a snapshot, of one or of several shards. InvalidRequest if there is one of this name."""
        with self._lock:
            one = restore_sharded if (snapshot / FILE).exists() else restore
            one(snapshot, self._folder(name))
            return self.collection(name)

    def reshard(self, name: str, shards: int, progress: Progress = lambda _moved, _all: None) -> Resharded:
        """Spread a collection over another number of shards, 1 to 256; returns once all has moved.

        Reads and writes go on, but that one that has no shards yet is closed for the moment in which its files are
        linked into the first: what comes in between fails, and `collection` gives the sharded one. See `reshard.py`.
        """
        shard_names(shards)
        with self._lock:
            opened = self.collection(name)
            if isinstance(opened, Collection):
                if shards == 1:
                    return Resharded(slots_moved=0, records_moved=0)
                self._close(name)
                split(self._folder(name))
                opened = self.collection(name)
            assert isinstance(opened, ShardedCollection)
            folder = self._sharded[name]
        return reshard(opened, folder, shards, progress)

    def _close(self, name: str) -> None:
        self._sharded.pop(name, None)
        self._open.pop(name).close()

    def close(self) -> None:
        """Close all collections."""
        with self._lock:
            for name in list(self._open):
                self._close(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _folder(self, name: Any) -> Path:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidRequest(f"collection name {name!r}: use {_NAMES}", param="name")
        return self.folder / name

"""The folder of a sharded collection, and its shards in this process or in one of their own each: `ShardedFolder`.

    slots.json  lock  shard-000/  shard-001/  ...

A shard's folder is that of a collection. Only shards that `slots.json` names count; others are what a crash left.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from paceline.base.errors import FolderInUse, InvalidRequest, PacelineError
from paceline.vectors.collection import Collection
from paceline.vectors.disk import made_folder, told
from paceline.vectors.files import Files
from paceline.vectors.folder_lock import FolderLock
from paceline.vectors.incoming import learned
from paceline.vectors.manifest import Manifest, read_manifest
from paceline.vectors.policy import Schema, VectorsPolicy
from paceline.vectors.remote_shard import RemoteShard
from paceline.vectors.shard import Shard, lost
from paceline.vectors.shard_keeper import ShardKeeper
from paceline.vectors.sharded import ShardedCollection
from paceline.vectors.slots import FILE, MOST_SHARDS, SlotMap

_OPENED_AT_ONCE: Final = 32


def shard_names(count: int) -> list[str]:
    """Those of a collection of so many shards. InvalidRequest if that is too many or none."""
    if not 1 <= count <= MOST_SHARDS:
        raise InvalidRequest(f"{count} shards; take 1 to {MOST_SHARDS}", param="shards")
    return [f"shard-{number:03d}" for number in range(count)]


def create_folder(folder: Path, schema: Schema, shards: int, sample: Any = None) -> None:
    """Make an empty sharded collection in `folder`, which must not exist; see `Collection.create`."""
    names = shard_names(shards)
    preprocess = learned(schema, sample)
    with made_folder(folder) as part:
        for name in names:
            with made_folder(part / name) as shard:
                Files.create(shard, schema, preprocess)
        SlotMap.of(names).write(part / FILE)


class ShardedFolder:
    """Held open, by one owner, until `close`. FolderInUse, StorageDamaged, NotFound."""

    def __init__(self, folder: Path, policy: VectorsPolicy, *, skip_damaged: bool = False) -> None:
        self.folder = folder
        self.policy = policy
        self._skip_damaged = skip_damaged
        self._lock = FolderLock(folder)
        self.resharding = threading.Lock()  # held while shards come or go
        self._sockets: Path | None = None
        try:
            self.slots = SlotMap.read(folder / FILE)
            self._remove_strangers()
            self.schema = self._readable(self.slots.shards)[1].schema
            if policy.shards.processes:
                self._sockets = Path(tempfile.mkdtemp(prefix="paceline-shards-"))
        except BaseException:  # whatever it was: the folder is not open
            self.close()
            raise

    def open(self, names: Sequence[str]) -> dict[str, Shard]:
        """Shards by name, opened at the same time; one that cannot be opened is `lost`, and says why when used.

        FolderInUse if one is open elsewhere; then none is here.
        """
        opened: dict[str, Shard] = {}
        with ThreadPoolExecutor(_OPENED_AT_ONCE, thread_name_prefix="shards") as threads:
            running = {name: threads.submit(self._open, name) for name in names}
        try:
            for name, future in running.items():
                opened[name] = future.result()
        except BaseException:  # whatever it was: none is used
            for future in running.values():
                if future.exception() is None:
                    future.result().close()
            raise
        return opened

    def _open(self, name: str) -> Shard:
        folder = self.folder / name
        if self._sockets is not None:
            socket = self._sockets / f"{name}.sock"
            keeper = ShardKeeper(folder, socket, self.policy, skip_damaged=self._skip_damaged)
            keeper.wait_for_try()
            return RemoteShard(socket, keeper)
        try:
            return Collection.open(folder, policy=self.policy, skip_damaged=self._skip_damaged)
        except FolderInUse:
            raise
        except PacelineError as error:
            return lost(error.message)

    def opened(self) -> ShardedCollection:
        """The collection; closing it closes the folder."""
        shards = self.open(self.slots.shards)
        return ShardedCollection(
            shards, self.schema, folder=self.folder, policy=self.policy, on_close=self.close
        )

    def make(self, names: Sequence[str], like: Sequence[str]) -> None:
        """Empty shards that take what those take that they are to be `like`. StorageError, StorageFull."""
        folder, manifest = self._readable(like)
        preprocess = Files(folder, manifest).preprocess()
        for name in names:
            self.remove(name)  # what an interrupted `make` left
            with made_folder(self.folder / name) as part:
                Files.create(part, manifest.schema, preprocess)

    def remove(self, name: str) -> None:
        """Delete the folder of a shard that is closed and that the slots do not name."""
        folder = self.folder / name
        with told(f"{folder} cannot be deleted"):
            shutil.rmtree(folder, ignore_errors=not folder.exists())

    def close(self) -> None:
        """Let others open the folder. The shards are the caller's to close, before."""
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._lock.release()

    def _remove_strangers(self) -> None:
        for folder in self.folder.glob("shard-*"):
            if folder.name not in self.slots.shards:
                self.remove(folder.name)

    def _readable(self, names: Sequence[str]) -> tuple[Path, Manifest]:
        """The first shard whose manifest can be read."""
        trouble: PacelineError | None = None
        for name in names:
            try:
                return self.folder / name, read_manifest(self.folder / name)
            except PacelineError as error:
                trouble = error
        assert trouble is not None
        raise trouble


def open_sharded(
    folder: Path, policy: VectorsPolicy, *, skip_damaged: bool = False
) -> tuple[ShardedCollection, ShardedFolder]:
    """The collection in `folder`, and the folder, for `reshard`. FolderInUse, StorageDamaged, NotFound."""
    held = ShardedFolder(folder, policy, skip_damaged=skip_damaged)
    try:
        return held.opened(), held
    except BaseException:  # whatever it was: the folder is not open
        held.close()
        raise

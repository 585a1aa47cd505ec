"""Several collections in one folder, by name: `VectorStore`."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path
from typing import Any, Final, Self

from paceline.base.errors import InvalidRequest, NotFound
from paceline.vectors.collection import Collection
from paceline.vectors.disk import PART, sync_folder, told
from paceline.vectors.manifest import NAME
from paceline.vectors.policy import Schema, VectorsPolicy
from paceline.vectors.snapshot import restore

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NAMES: Final = "1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit"


class VectorStore:
    """A folder of collections, each opened when it is first asked for; safe for any number of threads."""

    def __init__(self, folder: Path, policy: VectorsPolicy = VectorsPolicy()) -> None:  # noqa: B008 - frozen
        self.folder = folder
        self.policy = policy
        self._open: dict[str, Collection] = {}
        self._lock = threading.RLock()  # protects `_open`; held while a collection is opened or made
        with told(f"{folder} cannot be made"):
            folder.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """The collections there are, sorted."""
        return sorted(
            file.parent.name for file in self.folder.glob(f"*/{NAME}") if _NAME.fullmatch(file.parent.name)
        )

    def create(self, name: str, schema: Schema, *, sample: Any = None) -> Collection:
        """Make a collection. InvalidRequest if there is one of this name. `sample`: vectors from which pca learns."""
        with self._lock:
            folder = self._folder(name)
            if folder.exists():
                raise InvalidRequest(
                    f"collection {name!r} exists; drop it, or choose another name", param="name"
                )
            made = Collection.create(folder, schema, sample=sample, policy=self.policy)
            self._open[name] = made
            return made

    def collection(self, name: str, *, skip_damaged: bool = False) -> Collection:
        """The collection of this name, opened if it is not. NotFound tells which there are."""
        known = self._open.get(name)
        if known is not None:
            return known
        with self._lock:
            folder = self._folder(name)
            if name not in self._open:
                if not (folder / NAME).exists():
                    listed = ", ".join(self.names()) or "none"
                    raise NotFound(f"no collection {name!r}; there are: {listed}", param="name")
                self._open[name] = Collection.open(folder, policy=self.policy, skip_damaged=skip_damaged)
            return self._open[name]

    def drop(self, name: str) -> None:
        """Close a collection and delete it. NotFound."""
        with self._lock:
            self.collection(name).close()
            del self._open[name]
            folder = self._folder(name)
            going = folder.with_name(f"{name}.dropped{PART}")  # gone at once for all; its files take longer
            with told(f"{folder} cannot be deleted"):
                shutil.rmtree(going, ignore_errors=True)
                folder.rename(going)
                sync_folder(self.folder)
                shutil.rmtree(going)

    def restore(self, name: str, snapshot: Path) -> Collection:
        """Make a collection of a snapshot. InvalidRequest if there is one of this name."""
        with self._lock:
            restore(snapshot, self._folder(name))
            return self.collection(name)

    def close(self) -> None:
        """Close all collections."""
        with self._lock:
            for name in list(self._open):
                self._open.pop(name).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _folder(self, name: Any) -> Path:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidRequest(f"collection name {name!r}: use {_NAMES}", param="name")
        return self.folder / name

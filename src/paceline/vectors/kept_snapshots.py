"""The snapshots that a store keeps, by collection and name: `KeptSnapshots`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from paceline.base.errors import InvalidRequest, NotFound
from paceline.vectors.any_collection import AnyCollection
from paceline.vectors.disk import PART, told

FOLDER: Final = ".snapshots"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class KeptSnapshots:
    """In `.snapshots` beside the collections: they share the files that do not change. Safe for any number of threads."""

    def __init__(self, store: Path) -> None:
        self._folder = store / FOLDER

    def take(self, name: str, collection: AnyCollection, snapshot: str) -> None:
        """Keep collection `name` as it is now as `snapshot`. InvalidRequest if there is one of this name."""
        if not _NAME.fullmatch(snapshot) or snapshot.endswith(PART):
            raise InvalidRequest(
                f"snapshot name {snapshot!r}: use 1 to 100 letters, digits, -, _ and ., beginning with a letter or digit",
                param="name",
            )
        if snapshot in self.names().get(name, []):
            raise InvalidRequest(
                f"collection {name!r} has a snapshot {snapshot!r}; choose another name", param="name"
            )
        folder = self._folder / name
        with told(f"{folder} cannot be made"):
            folder.mkdir(parents=True, exist_ok=True)
        collection.snapshot(folder / snapshot)

    def names(self) -> dict[str, list[str]]:
        """Names of the snapshots, sorted, by collection; of collections that were dropped too."""
        found: dict[str, list[str]] = {}
        for folder in sorted(self._folder.glob("*/*/")):
            if not folder.name.endswith(PART):
                found.setdefault(folder.parent.name, []).append(folder.name)
        return found

    def folder(self, name: str, snapshot: str) -> Path:
        """Where one is. NotFound tells which there are."""
        known = self.names().get(name, [])
        if snapshot not in known:
            listed = ", ".join(known) or "none"
            raise NotFound(
                f"no snapshot {snapshot!r} of collection {name!r}; there are: {listed}", param="name"
            )
        return self._folder / name / snapshot

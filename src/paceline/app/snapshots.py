"""Metrics of several processes on one page: each writes its own every second, whoever is scraped reads all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from paceline.base.instruments import Snapshot

EVERY_S = 1.0


class Snapshots:
    """Snapshots of this process's registry in a folder that all processes of one server share."""

    def __init__(self, folder: Path, name: str, take: Callable[[], Snapshot]) -> None:
        """`take` gives the snapshot, plain enough for msgpack; `name` is unique to this process's role."""
        self._path = folder / f"{name}.metrics"
        self._folder = folder
        self._take = take

    def write(self) -> None:
        """Replace this process's file in one step, so that nobody reads half of it."""
        draft = self._path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.msgpack.encode(self._take()))
        draft.replace(self._path)

    def others(self) -> list[Snapshot]:
        """What the other processes last wrote, at most about a second ago."""
        return [
            msgspec.msgpack.decode(path.read_bytes())
            for path in sorted(self._folder.glob("*.metrics"))
            if path != self._path
        ]

    async def keep_writing(self) -> None:
        """Write until cancelled."""
        while True:
            self.write()
            await asyncio.sleep(EVERY_S)

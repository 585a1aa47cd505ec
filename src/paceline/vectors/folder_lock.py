"""One owner for a folder: a lock that the operating system takes back when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from paceline.base.errors import FolderInUse
from paceline.vectors.disk import told

NAME: Final = "lock"


class FolderLock:
    """Held from when it is made until `release`. FolderInUse if somebody else holds it."""

    def __init__(self, folder: Path) -> None:
        file = folder / NAME
        with told(f"{file} cannot be opened"):
            self._handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._handle, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._handle)
            raise FolderInUse(
                f"{folder} is open in process {owner}; close it there, or open a snapshot of it"
            ) from None
        with suppress(OSError):  # a full disk: the lock holds without saying whose it is
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let others open the folder. May be called twice."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

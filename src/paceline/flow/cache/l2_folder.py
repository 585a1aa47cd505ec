"""The folder of the disk tier: two LMDB files in rotation, and what its processes agree on.

    cache.state     which file is current (mapped by every process), format, last boot; its lock guards all writes
    cache.users     locked (shared) by each process that has the tier open
    cache-7.lmdb    the current file, written and read
    cache-6.lmdb    the one before, only read; deleted when cache-8.lmdb is begun

A name is never used twice, so a process that has not noticed a rotation yet goes on reading deleted files, unharmed.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import lmdb

_STATE = struct.Struct("<8sQQQ40s")
"""magic, format, current generation, 1 when closed in order, boot id."""
_MAGIC = b"PACELINE"
_FORMAT = 1
_GENERATION_AT = 2
_CLEAN_AT = 3
_BOOT_AT = 32
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class UnusableFolderError(Exception):
    """The folder cannot be the disk tier; the message says why and what to do."""


class Folder:
    """One process's view of the folder. Raises UnusableFolderError, OSError or lmdb.Error when it cannot be opened."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        # LMDB wants whole pages.
        self.file_bytes = max_bytes // 2 // mmap.PAGESIZE * mmap.PAGESIZE
        self.files: dict[int, lmdb.Environment] = {}
        """Open files by generation, newest first."""
        path.mkdir(parents=True, exist_ok=True)
        state = path / "cache.state"
        if not state.exists() and (strangers := sorted(entry.name for entry in path.iterdir())):
            raise UnusableFolderError(f"{path} holds {strangers[0]}, which is not ours; name another folder")
        self._users_fd = self._state_fd = -1
        try:
            self._state_fd = os.open(state, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._users_fd = os.open(path / "cache.users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with self.locked():
                self._map()
                self._check_boot()
                fcntl.flock(self._users_fd, fcntl.LOCK_SH)
                self._words[_CLEAN_AT] = 0
                self.follow()
        except (
            BaseException
        ):  # an interrupt as well: files and locks must not outlive a folder that did not open
            self._release()
            raise

    @property
    def generation(self) -> int:
        """Of the current file, as all processes see it; about 0.1 us."""
        return self._words[_GENERATION_AT]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only writer among all processes. The kernel frees the lock of a killed one."""
        fcntl.flock(self._state_fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._state_fd, fcntl.LOCK_UN)

    def follow(self) -> None:
        """Have exactly the current file and the one before open. Call `locked`."""
        current = self.generation
        wanted = {current: self.files.get(current) or self._open(current)}
        before = self.files.get(current - 1)
        if before is None and self._file(current - 1).exists():
            before = self._open(current - 1)
        if before is not None:
            wanted[current - 1] = before
        dropped = [file for generation, file in self.files.items() if generation not in wanted]
        self.files = wanted
        for file in dropped:
            file.close()

    def rotate(self) -> None:
        """Begin a new file and drop the one before the current. Call `locked`, after `follow`."""
        new = self.generation + 1
        self._delete({new - 1})  # room first: the disk may be full
        self.files = {new: self._open(new)} | self.files
        self._words[_GENERATION_AT] = new
        self.follow()

    def close(self) -> None:
        """Close; the last process to do so writes everything to the device and notes that it did."""
        with self.locked():
            if self._alone():
                for file in self.files.values():
                    file.sync(force=True)
                self._words[_CLEAN_AT] = 1
            for file in self.files.values():
                file.close()
            self.files = {}
        self._release()

    # -- state ------------------------------------------------------------------------------------------------

    def _map(self) -> None:
        size = os.fstat(self._state_fd).st_size
        if size == 0:
            os.write(self._state_fd, _STATE.pack(_MAGIC, _FORMAT, 1, 1, _boot()))
        elif size != _STATE.size:
            raise UnusableFolderError(
                f"{self.path}/cache.state has {size} bytes, not {_STATE.size}; empty the folder"
            )
        self._mapped = mmap.mmap(self._state_fd, _STATE.size)
        magic, version, generation, _, _ = _STATE.unpack_from(self._mapped)
        if magic != _MAGIC or version != _FORMAT or generation < 1:
            raise UnusableFolderError(
                f"{self.path} was written in format {version}, this is format {_FORMAT}; empty the folder"
            )
        self._words = memoryview(self._mapped)[:32].cast("Q")

    def _check_boot(self) -> None:
        """Without a sync, what LMDB wrote before the host went down may be half there: begin anew."""
        boot = _boot()
        if self._mapped[_BOOT_AT:] != boot and not self._words[_CLEAN_AT] and self._alone():
            self._words[_GENERATION_AT] += 2
            self._delete(set())
        self._mapped[_BOOT_AT:] = boot

    def _alone(self) -> bool:
        """Whether no other process has the tier open; keeps the users' lock if so."""
        with suppress(BlockingIOError):
            fcntl.flock(self._users_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _release(self) -> None:
        for file in self.files.values():
            file.close()
        if hasattr(self, "_words"):
            self._words.release()
            self._mapped.close()
        for fd in (self._users_fd, self._state_fd):
            if fd >= 0:
                os.close(fd)

    # -- files ------------------------------------------------------------------------------------------------

    def _file(self, generation: int) -> Path:
        return self.path / f"cache-{generation}.lmdb"

    def _open(self, generation: int) -> lmdb.Environment:
        import lmdb  # noqa: PLC0415 - only a server with a disk tier pays for it

        # No fsync: a killed process loses nothing the kernel has, and a host that goes down loses a cache.
        file = lmdb.open(
            str(self._file(generation)),
            map_size=self.file_bytes,
            subdir=False,
            sync=False,
            metasync=False,
            mode=0o600,
            max_readers=512,
        )
        file.reader_check()
        path = self._file(generation)
        needed = (file.info()["last_pgno"] + 1) * file.stat()["psize"]
        if path.stat().st_size < needed:  # reading the missing pages would kill the process
            file.close()
            raise UnusableFolderError(f"{path} is cut short of its {needed} bytes; empty the folder")
        return file

    def _delete(self, keep: set[int]) -> None:
        kept = {self._file(generation).name for generation in keep}
        for path in self.path.glob("cache-*.lmdb*"):
            if path.name.removesuffix("-lock") not in kept:
                path.unlink(missing_ok=True)


def _boot() -> bytes:
    """40 bytes that change when the host starts; all zero where the system does not tell."""
    try:
        return _BOOT_ID.read_bytes().strip().ljust(40, b"\0")[:40]
    except OSError:
        return bytes(40)

"""The log to which every write goes before it is acknowledged: numbered files of frames, one fsync for many callers.

`append` is for one caller at a time (the collection's writer holds its lock); `commit` may be called by many, and those
who wait at the same time share one fsync. A failed fsync leaves the file in doubt for ever, as the operating system may
have forgotten what it could not write: the log refuses until it is given a new file (`rotate`).
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from paceline.base.errors import PayloadTooLarge, StorageDamaged, StorageError
from paceline.vectors.disk import storage_error, sync_folder, told
from paceline.vectors.frames import (
    FILE_HEADER_BYTES,
    FRAME_HEADER_BYTES,
    MOST_PAYLOAD,
    FileHeader,
    LogContent,
    framed,
    read_header,
    read_log,
)
from paceline.vectors.policy import DurabilityPolicy

_ENDING: Final = ".log"


def log_file(folder: Path, number: int) -> Path:
    """The file of log `number`."""
    return folder / f"{number:012d}{_ENDING}"


def log_numbers(folder: Path) -> list[int]:
    """The logs in `folder`, oldest first."""
    return sorted(int(file.stem) for file in folder.glob(f"*{_ENDING}"))


class Log:
    """An open log that ends with frame `written`; a new file is made for what comes.

    `sync` is what makes a file durable; given by tests of disks that fail.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        written: int,
        policy: DurabilityPolicy,
        *,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self.folder = folder
        self.number = number
        self.written = written
        self.durable = written
        self.failure: StorageError | None = None
        self._policy = policy
        self._sync = sync
        self._turn = threading.Condition()  # protects all of the above but `written`, and `_syncing`
        self._syncing = False
        self._closed = threading.Event()
        self._lost: list[range] = []  # frames of files that could not be synced
        self._salt = 0
        self._size = 0
        self._handle = self._opened(number)
        self._ticker = threading.Thread(target=self._tick, name="vectors-fsync", daemon=True)
        if policy.fsync == "interval":
            self._ticker.start()

    @property
    def size(self) -> int:
        """Bytes of the current file."""
        return self._size

    @property
    def has_lost(self) -> bool:
        """Whether a crash may lose frames that were made visible, and were not acknowledged: a sync failed."""
        return bool(self._lost)

    def append(self, payload: bytes) -> int:
        """Write a frame; returns its number, for `commit`. One caller at a time. StorageFull leaves nothing behind."""
        if len(payload) > MOST_PAYLOAD:
            raise PayloadTooLarge(
                f"a batch of {len(payload)} bytes; {MOST_PAYLOAD} is the most, send it in parts"
            )
        if self.failure is not None:
            raise StorageError(f"the log {self.folder} is in doubt since {self.failure.message}")
        number = self.written + 1
        try:
            self._write(framed(number, self.durable, self._salt, payload))
        except OSError as error:
            self._cut(self._size)
            raise storage_error(f"{self.folder}: the write was not logged", error) from error
        self._size += FRAME_HEADER_BYTES + len(payload)
        self.written = number
        return number

    def commit(self, number: int) -> None:
        """Wait until frame `number` is as safe as the policy says. StorageError if it may be lost."""
        if self._policy.fsync == "always":
            self.sync(number)

    def sync(self, number: int | None = None) -> None:
        """Make all frames up to `number` (None: all) durable, whatever the policy."""
        wanted = self.written if number is None else number
        with self._turn:
            if number is None and self._is_lost(wanted):
                return  # the current file is empty
            while self.durable < wanted or self._is_lost(wanted):
                if self.failure is not None or self._is_lost(wanted):
                    reason = (
                        self.failure.message if self.failure is not None else "the log could not be synced"
                    )
                    raise StorageError(
                        f"the write may be lost: {reason}; read it back before it is sent again"
                    )
                if self._syncing:
                    self._turn.wait()
                else:
                    self._lead()

    def _is_lost(self, number: int) -> bool:
        return any(number in frames for frames in self._lost)

    def _lead(self) -> None:
        """Sync for all who wait; holds `_turn` but while the disk works."""
        self._syncing = True
        target, handle = self.written, self._handle
        self._turn.release()
        failure = None
        try:
            self._sync(handle)
        except OSError as error:
            failure = storage_error(f"{self.folder} could not be synced", error)
        finally:
            self._turn.acquire()
            self._syncing = False
            self._turn.notify_all()
        if failure is None:
            self.durable = max(self.durable, target)
        else:
            self.failure = failure

    def rotate(self) -> int:
        """Begin the next file; returns its number. One caller at a time, as `append`. Clears a failed sync."""
        if self.failure is None:
            self.sync()
        with self._turn:
            while self._syncing:
                self._turn.wait()
            before, number = self._handle, self.number + 1
            self._handle = self._opened(number)
            if self.failure is not None:
                self._lost.append(range(self.durable + 1, self.written + 1))
            self.number, self.failure = number, None
            os.close(before)
        return number

    def forget(self, before: int) -> None:
        """Delete the files of logs numbered below `before`."""
        with told(f"{self.folder}: old logs cannot be deleted"):
            for number in log_numbers(self.folder):
                if number < before:
                    log_file(self.folder, number).unlink(missing_ok=True)

    def close(self) -> None:
        """Sync and close. StorageError if the last writes may be lost."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._ticker.is_alive():
            self._ticker.join()
        try:
            if self.failure is None:
                self.sync()
        finally:
            os.close(self._handle)

    def _opened(self, number: int) -> int:
        file, salt = log_file(self.folder, number), secrets.randbits(64)
        with told(f"{file} cannot be made"):
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                header = FileHeader(self.written + 1, self.durable, salt).packed()
                if os.write(handle, header) < len(header):
                    raise OSError(28, "the header did not fit")  # noqa: TRY301 - cleaned up below as the others
                os.fsync(handle)
                sync_folder(self.folder)
            except OSError:
                os.close(handle)
                file.unlink(missing_ok=True)
                raise
        self._salt, self._size = salt, FILE_HEADER_BYTES
        return handle

    def _write(self, parts: tuple[bytes, bytes]) -> None:
        done, total = os.writev(self._handle, parts), sum(map(len, parts))
        if done < total:
            rest = memoryview(b"".join(parts))[done:]
            while rest:
                rest = rest[os.write(self._handle, rest) :]

    def _cut(self, size: int) -> None:
        """Take back what was written of a frame that did not fit."""
        try:
            os.ftruncate(self._handle, size)
            os.lseek(self._handle, size, os.SEEK_SET)
        except OSError as error:
            self.failure = storage_error(f"{self.folder}: half a frame cannot be taken back", error)

    def _tick(self) -> None:
        while not self._closed.wait(self._policy.interval_ms / 1000):
            if self.durable < self.written and self.failure is None:
                try:
                    self.sync()
                except StorageError:  # kept in `failure`: the next append tells its caller
                    return


def replayed(folder: Path, first: int, *, skip_damaged: bool = False) -> Iterator[LogContent]:
    """The contents of logs `first` and later, oldest first. StorageDamaged if acknowledged frames are missing."""
    numbers = [number for number in log_numbers(folder) if number >= first]
    if numbers and numbers != list(range(first, numbers[-1] + 1)):
        raise StorageDamaged(
            f"{folder} holds logs {numbers}, but {first} to {numbers[-1]} are needed; restore a snapshot"
        )
    headers = [read_header(log_file(folder, number)) for number in numbers]
    for i, number in enumerate(numbers):
        later = next((header for header in headers[i + 1 :] if header is not None), None)
        known = 0 if later is None else min(later.durable, later.first - 1)
        yield read_log(log_file(folder, number), known_durable=known, skip_damaged=skip_damaged)


def settle_log(file: Path, content: LogContent) -> None:
    """Take away what a crash left at the end of `file`, and make the rest durable: it was only read so far."""
    with told(f"{file} cannot be settled"), file.open("r+b") as out:
        if content.dropped:
            out.truncate(content.whole)
        os.fsync(out.fileno())

"""L2, the disk tier: shared by the worker processes of one host, kept over restarts."""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path

import lmdb

from paceline.base.clock import Clock, monotonic
from paceline.flow.cache.health import TierHealth
from paceline.flow.cache.l2_folder import Folder, UnusableFolderError

_PENDING_BYTES = 32 << 20
_BATCH_ENTRIES = 64
"""In one transaction; short, so that other processes, and this one's event loop, get their turn."""
_MAX_KEY_BYTES = 511
_PAUSE_S = 30.0
"""After a failed write (a full disk) nothing is written for this long."""
_CLOSE_S = 10.0
_FOLLOW_S = 5.0
"""An idle process looks this often whether others rotated the files, to free those it still holds."""
_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.PanicError,
)


class DiskCache:
    """Bytes by key, in two LMDB files in rotation.

    A full LMDB cannot even delete, so the older file goes as a whole; what is still asked for moves from it to the
    current one.

    `get` reads inline (about 3 us when the kernel has the page). `put` queues; a thread writes. Nothing raises: a folder
    that is foreign, damaged, of another format or open twice in this process turns the tier off, a full disk pauses
    its writes, and `health` says which. Must not be used in a forked child (LMDB's rule): it misses there, always.
    """

    def __init__(self, folder: Path, max_bytes: int, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._pid = os.getpid()
        self._folder: Folder | None = None
        self._off_reason = ""
        self._paused_until = -1.0
        self._pause_reason = ""
        self._handles = threading.Lock()
        """Held while files are read or exchanged, so that none is closed under a reader."""
        self._pending: deque[tuple[bytes, bytes]] = deque()
        # Each of these has one writing thread: the caller's the first two, the writer's the rest.
        self._queued = 0
        self._queued_bytes = 0
        self._taken_bytes = 0
        self._settled = 0
        self._lost = 0
        self._wake = threading.Event()
        self._settling = threading.Condition()
        self._closing = False
        self.hits_total = 0
        self.errors_total = 0
        self.skipped_total = 0
        self.rotations_total = 0
        try:
            self._folder = Folder(folder, max_bytes)
        except (OSError, lmdb.Error, UnusableFolderError) as error:
            self._turn_off(str(error))
            return
        self._thread = threading.Thread(target=self._write_loop, name="paceline-l2", daemon=True)
        self._thread.start()

    def get(self, key: bytes) -> bytes | None:
        """The stored bytes, or None."""
        folder = self._mine()
        if folder is None or not 0 < len(key) <= _MAX_KEY_BYTES:
            return None
        try:
            with self._handles:
                if self._folder is None:  # closed by another thread just now
                    return None
                current = folder.generation
                for generation, file in folder.files.items():  # noqa: B007 - used after the loop
                    with file.begin() as transaction:
                        raw: bytes | None = transaction.get(key)
                    if raw is not None:
                        break
                else:
                    return None
        except lmdb.Error as error:
            self._fault(error)
            return None
        self.hits_total += 1
        if generation != current:
            self.put(key, raw)
        return raw

    def put(self, key: bytes, raw: bytes) -> None:
        """Queue for writing; skipped when the tier is off or paused, the queue is full or the value too large."""
        folder = self._mine()
        size = len(key) + len(raw)
        if (
            folder is None
            or not 0 < len(key) <= _MAX_KEY_BYTES
            or size > folder.file_bytes // 8
            or self._queued_bytes - self._taken_bytes + size > _PENDING_BYTES
            or self._clock() < self._paused_until
        ):
            self.skipped_total += 1
            return
        self._queued += 1
        self._queued_bytes += size
        self._pending.append((key, raw))
        if not self._wake.is_set():
            self._wake.set()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait (blocking) until all that was put is written; True when none of it was lost.

        What is written survives the death of this process, not that of the host.
        """
        target, lost = self._queued, self._lost
        with self._settling:
            done = self._settling.wait_for(lambda: self._settled >= target or self._folder is None, timeout_s)
        return done and self._folder is not None and self._lost == lost

    def close(self) -> None:
        """Write what is queued and close (blocking). The object stays usable as a tier that is off."""
        folder = self._mine()
        if folder is None:
            return
        self._closing = True
        self._wake.set()
        self._thread.join(_CLOSE_S)
        with self._handles:
            if self._folder is None:  # the last writes turned it off
                return
            self._folder = None
            self._off_reason = "closed"
            if not self._thread.is_alive():
                folder.close()

    def health(self) -> TierHealth:
        """Off with the reason, failing while writes are paused, or ok."""
        if self._mine() is None:
            return TierHealth("off", self._off_reason or "opened before this process was forked")
        if self._clock() < self._paused_until:
            return TierHealth("failing", f"not written for {_PAUSE_S:.0f} s: {self._pause_reason}")
        return TierHealth("ok")

    def stats(self) -> dict[str, float]:
        """Sizes now (this process's view of both files), counts of this process since the start."""
        size_bytes = entries = 0
        if self._mine() is not None:
            with self._handles:
                for file in self._folder.files.values() if self._folder is not None else ():
                    stat = file.stat()
                    size_bytes += (file.info()["last_pgno"] + 1) * stat["psize"]
                    entries += stat["entries"]
        return {
            "bytes": size_bytes,
            "entries": entries,
            "pending_bytes": self._queued_bytes - self._taken_bytes,
            "errors_total": self.errors_total,
            "skipped_total": self.skipped_total,
            "lost_total": self._lost,
            "rotations_total": self.rotations_total,
        }

    def _mine(self) -> Folder | None:
        return self._folder if os.getpid() == self._pid else None

    # -- the writing thread -----------------------------------------------------------------------------------

    def _write_loop(self) -> None:
        while True:
            self._wake.wait(_FOLLOW_S)
            self._wake.clear()
            self._step([])
            while self._pending and self._folder is not None:
                batch = self._take_batch()
                self._step(batch)
                with self._settling:
                    self._settled += len(batch)
                    self._settling.notify_all()
            if self._folder is None or (self._closing and not self._pending):
                with self._settling:
                    self._settling.notify_all()
                return

    def _take_batch(self) -> list[tuple[bytes, bytes]]:
        folder = self._folder
        assert folder is not None
        batch: list[tuple[bytes, bytes]] = []
        batch_bytes = 0
        while self._pending and len(batch) < _BATCH_ENTRIES and batch_bytes < folder.file_bytes // 8:
            batch.append(self._pending.popleft())
            batch_bytes += len(batch[-1][0]) + len(batch[-1][1])
        self._taken_bytes += batch_bytes
        return batch

    def _step(self, batch: list[tuple[bytes, bytes]]) -> None:
        """Follow the other processes and write one batch, as the only writer among them."""
        folder = self._folder
        assert folder is not None
        if batch and self._clock() < self._paused_until:
            self._lost += len(batch)
            return
        if not batch and folder.generation in folder.files:
            return
        try:
            with folder.locked():
                if folder.generation not in folder.files:
                    with self._handles:
                        folder.follow()
                if batch and not self._write(folder, batch):
                    with self._handles:
                        folder.rotate()
                    self.rotations_total += 1
                    if not self._write(folder, batch):
                        self._lost += len(batch)
        except (OSError, lmdb.Error) as error:
            self._lost += len(batch)
            self._fault(error)

    @staticmethod
    def _write(folder: Folder, batch: list[tuple[bytes, bytes]]) -> bool:
        """False when the current file is full."""
        try:
            with folder.files[folder.generation].begin(write=True) as transaction:
                for key, raw in batch:
                    transaction.put(key, raw)
        except lmdb.MapFullError:
            return False
        return True

    # -- faults -----------------------------------------------------------------------------------------------

    def _fault(self, error: Exception) -> None:
        """A damaged file ends the tier; anything else (a full disk) pauses its writes."""
        with self._settling:
            self.errors_total += 1
        if isinstance(error, _DAMAGE):
            self._turn_off(f"damaged, empty the folder: {error}")
        else:
            self._pause_reason = str(error)
            self._paused_until = self._clock() + _PAUSE_S

    def _turn_off(self, reason: str) -> None:
        self._off_reason = reason
        self._folder = None
        self._wake.set()

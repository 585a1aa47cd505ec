"""The texts of a collection, kept beside it: `TextFollower` writes to the text index what was written to the collection.

Log and segments are the truth, the index follows them. What it holds is told by the note of its last commit: all writes
up to a number. When the collection is opened the later ones are taken from the log; where that cannot be, or the note
cannot be trusted, the index is made anew from the records. All of it happens in a thread of its own: writes only leave
word here, and a search by words waits until those before it are in.
"""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from paceline.base.errors import ConfigError, PacelineError, StorageDamaged, StorageError
from paceline.vectors.batch import Batch, Upserts
from paceline.vectors.disk import told
from paceline.vectors.record import Key, unpacked_metadata
from paceline.vectors.state import State
from paceline.vectors.text_index import TextIndex, is_of_library, tantivy
from paceline.vectors.view import View
from paceline.vectors.wal import Log

FOLDER: Final = "text"
_FORMAT: Final = 1
"""Raised when texts become other words than before: then indexes are made anew."""
_BATCH: Final = 4096
"""Records that are written to the index without being asked for."""
_MOST_PENDING: Final = 100_000
"""Records not yet in the index at which writers wait: the index takes them quicker than any log."""

TextState = Literal["opening", "rebuilding", "ready", "failing", "missing", "closed"]


class TextStats(msgspec.Struct, frozen=True):
    """The texts at one moment."""

    field: str
    state: TextState
    """`missing`: tantivy is not installed."""
    version: int
    """All writes up to this one are in."""
    pending: int
    """Records written since."""
    rebuilt: str
    """Why the index was made anew when it was opened; empty if it was not."""


class Reached(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The note of a commit: what the index holds."""

    version: int
    without: list[int]
    """Segments that were set aside when it was made."""
    is_sure: bool = True
    """False if the log had lost writes that the index has."""
    format: int = _FORMAT


class Beginning(msgspec.Struct, frozen=True, eq=False):
    """What opening a collection found."""

    sealed_version: int
    """Number of the last write that is in segments."""
    replayed: Sequence[tuple[int, Batch]] = ()
    """Later writes, with their numbers."""
    is_whole: bool = True
    """Whether the log was read without a gap."""


class _Change(msgspec.Struct, frozen=True, eq=False):
    """A write, without its vectors."""

    number: int
    keys: list[Key]
    metadata: list[bytes] | None
    """None: the records go."""

    @classmethod
    def of(cls, number: int, batch: Batch) -> _Change:
        """Write `number`."""
        return cls(number, batch.keys, batch.metadata if isinstance(batch, Upserts) else None)


class TextFollower:
    """The text index of an open collection, in `folder`; its thread ends with `close`.

    `damaged` tells the segments that are set aside now: the index lacks their texts if it is made anew meanwhile.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it stands between
        self,
        folder: Path,
        field: str,
        state: State,
        log: Log,
        beginning: Beginning,
        damaged: Callable[[], Collection[int]],
    ) -> None:
        self.field = field
        self._folder = folder
        self._state = state
        self._log = log
        self._beginning: Beginning | None = beginning
        self._damaged = damaged
        self._index: TextIndex | None = None  # written by the thread only
        self._without: list[int] = []
        self._turn = threading.Condition()  # protects all below; taken after the state's `writing`
        self._queue = deque(_Change.of(number, batch) for number, batch in beginning.replayed)
        self._pending = sum(len(change.keys) for change in self._queue)
        self._written = state.view.version
        self._reached = -1
        self._wanted = -1
        self._asked = self._asked_at_failure = 0
        self._status: TextState = "opening"
        self._closing = False
        self._rebuilt = ""
        self.trouble: PacelineError | None = None
        self._thread = threading.Thread(target=self._run, name="vectors-texts", daemon=True)
        try:
            tantivy()
        except ConfigError as error:
            self._status, self.trouble = "missing", error
            self._beginning = None
            self._queue.clear()
        else:
            self._thread.start()

    def follow(self, batch: Batch, number: int) -> None:
        """Take note of a write that is visible. For whoever holds the state's `writing`, in order."""
        change = _Change.of(number, batch)
        with self._turn:
            self._written = number
            if self._status in {"missing", "failing"}:  # what comes next reads the records
                return
            self._queue.append(change)
            self._pending += len(change.keys)
            if self._pending >= _BATCH or self._wanted >= number:
                self._turn.notify_all()

    def wait_for_room(self) -> None:
        """Wait while too many records are not yet in the index."""
        if self._pending >= _MOST_PENDING:
            with self._turn:
                self._turn.wait_for(
                    lambda: self._pending < _MOST_PENDING or self._status != "ready" or self._closing
                )

    def reach(self, number: int) -> TextIndex:
        """Wait until the index holds all writes up to `number`. ConfigError, StorageError if it cannot."""
        with self._turn:
            if self._status == "missing":
                assert self.trouble is not None
                raise self.trouble
            self._wanted = max(self._wanted, number)
            self._asked += 1
            mine = self._asked
            self._turn.notify_all()
            while self._index is None or self._reached < number:
                if self._closing:
                    raise PacelineError(f"{self._folder.parent} is closed; open it again")
                if self._status == "failing" and self._asked_at_failure >= mine:
                    assert self.trouble is not None
                    raise self.trouble
                self._turn.wait()
            return self._index

    def before_publish(self, number: int) -> None:
        """Called before the log forgets writes up to `number`: the index takes them first, if it can.

        If it cannot it is made anew when the collection is next opened; that must hold up nothing.
        """
        if self._status == "ready":
            with suppress(PacelineError):  # told in `trouble`
                self.reach(number)

    def doubt(self, error: BaseException) -> StorageError:
        """A search failed with `error`: the next one finds the index made anew. Returns what to tell its caller."""
        with self._turn:
            return self._failed(error)

    def stats(self) -> TextStats:
        """What there is to know."""
        with self._turn:
            return TextStats(self.field, self._status, self._reached, self._pending, self._rebuilt)

    def close(self) -> None:
        """Commit what is pending and let go of the folder."""
        with self._turn:
            self._closing = True
            self._turn.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    # -- the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            try:
                if self._status != "ready":
                    self._begin()
                self._bring_up()
            except BaseException as error:
                if not is_of_library(error):
                    raise
                with self._turn:
                    self._failed(error)
            with self._turn:
                self._turn.wait_for(self._is_something_to_do)
        with suppress(Exception):  # what was committed is safe, and the rest is in the log
            if self._index is not None:
                if self._status == "ready":
                    self._bring_up()
                self._index.close()

    def _is_something_to_do(self) -> bool:
        if self._closing:
            return True
        if self._status == "failing":
            return self._asked > self._asked_at_failure
        return self._is_wanted() or self._pending >= _BATCH

    def _is_wanted(self) -> bool:
        """Whether somebody waits for writes that are here."""
        return min(self._wanted, self._written) > self._reached

    def _failed(self, error: BaseException) -> StorageError:
        told_as = (
            error
            if isinstance(error, StorageError)
            else StorageError(
                f"{self._folder}: texts cannot be indexed ({error}); they are tried again at the next search by words"
            )
        )
        self._status, self.trouble, self._asked_at_failure = "failing", told_as, self._asked
        self._reached = -1
        self._queue.clear()
        self._pending = 0
        self._turn.notify_all()
        return told_as

    def _begin(self) -> None:
        """Open the index, or make it anew if it is not sure to hold what the log does not."""
        beginning, self._beginning = self._beginning, None
        if beginning is None:
            self._rebuild(str(self.trouble))
            return
        try:
            self._index = TextIndex(self._folder)
            reached = _read(self._index.note)
        except StorageDamaged as error:
            self._rebuild(error.message)
            return
        why = self._why_not(reached, beginning)
        if why or reached is None:
            self._rebuild(why)
            return
        self._without = reached.without
        with self._turn:
            while self._queue and self._queue[0].number <= reached.version:
                self._pending -= len(self._queue.popleft().keys)
            self._reached, self._status = reached.version, "ready"
            self._turn.notify_all()

    def _why_not(self, reached: Reached | None, beginning: Beginning) -> str:
        """Why an index with this note cannot be brought up to date; empty if it can."""
        if reached is None:
            return "there was none"
        if reached.format != _FORMAT:
            return f"it had format {reached.format}, this version writes {_FORMAT}"
        if not reached.is_sure or not beginning.is_whole:
            return "the log had lost writes"
        if not beginning.sealed_version <= reached.version <= self._written:
            return f"it held writes up to {reached.version}, the log begins after {beginning.sealed_version}"
        back = set(reached.without) - set(self._damaged())
        return f"segments {sorted(back)} can be read again" if back else ""

    def _rebuild(self, why: str) -> None:
        """Make the index anew from the records there are."""
        former, self._index = self._index, None
        if former is not None:
            with suppress(Exception):  # its files go in any case
                former.close()
        with told(f"{self._folder} cannot be removed"):
            if self._folder.exists():
                shutil.rmtree(self._folder)
        with self._state.writing:
            view = self._state.view
            self._without = sorted(self._damaged())
            with self._turn:
                self._queue.clear()
                self._pending, self._reached = 0, -1
                self._status, self._rebuilt = "rebuilding", why
        index = TextIndex(self._folder)
        for texts in _texts_of(view, self.field):
            if self._closing:
                return
            index.add(texts)
        self._commit(index, view.version)

    def _bring_up(self) -> None:
        """Write what is pending to the index, and commit it if somebody waits for it, or it is the end."""
        if self._index is None:
            return
        with self._turn:
            changes, number = list(self._queue), self._written
            self._queue.clear()
        for change in changes:
            self._index.delete(change.keys)
            if change.metadata is not None:
                self._index.add(_texts(change.keys, change.metadata, self.field))
        with self._turn:
            self._pending -= sum(len(change.keys) for change in changes)
            is_due = self._is_wanted() or (self._closing and self._reached < number)
            self._turn.notify_all()
        if is_due:
            self._commit(self._index, number)

    def _commit(self, index: TextIndex, number: int) -> None:
        """Commit, never ahead of the log: what a power cut took from it, the index must not have."""
        is_sure = True
        try:
            self._log.sync(number)
        except StorageError:
            is_sure = False
        is_sure = is_sure and not self._log.has_lost
        index.commit(msgspec.json.encode(Reached(number, self._without, is_sure)).decode())
        with self._turn:
            self._index, self._reached = index, number
            self._status, self.trouble = "ready", None
            self._turn.notify_all()


def text_of(metadata: Mapping[str, Any] | None, field: str) -> str:
    """The text of a record: that of the field, or all of a list of texts; empty if there is none."""
    value = (metadata or {}).get(field)
    if isinstance(value, str):
        return value
    return "\n".join(value) if isinstance(value, list) else ""


def _texts(keys: Sequence[Key], metadata: Sequence[bytes], field: str) -> list[tuple[Key, str]]:
    given = (
        (key, text_of(unpacked_metadata(packed), field)) for key, packed in zip(keys, metadata, strict=True)
    )
    return [(key, text) for key, text in given if text]


def _texts_of(view: View, field: str) -> Iterator[list[tuple[Key, str]]]:
    """The texts of all records, some at a time."""
    for part in view.parts:
        rows = part.live_rows().tolist()
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH]
            source = part.source
            yield _texts(
                [source.key_of(row) for row in some], [source.metadata_of(row) for row in some], field
            )


def _read(note: str) -> Reached | None:
    try:
        return msgspec.json.decode(note, type=Reached) if note else None
    except msgspec.MsgspecError:
        return None

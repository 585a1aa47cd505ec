"""The folder of a collection: its manifest, segments and deletions on disk, and what may be removed.

    manifest.json  lock  log/NUMBER.log  segments/NUMBER/  deleted/NUMBER-VERSION.npy  preprocess/  text/

`publish` is the only way in which something becomes part of the collection, or ceases to be.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import msgspec
import numpy as np

from paceline.base.errors import StorageError
from paceline.vectors.array_folder import check_arrays, map_arrays, write_arrays
from paceline.vectors.bitmap import Bitmap, size_of
from paceline.vectors.disk import PART, sync_folder, told
from paceline.vectors.manifest import Manifest, SegmentEntry, read_manifest, write_manifest
from paceline.vectors.policy import Schema
from paceline.vectors.preprocess import Preprocess
from paceline.vectors.segment import Segment, SegmentContent, write_segment
from paceline.vectors.state import State
from paceline.vectors.view import Part
from paceline.vectors.wal import Log

LOG: Final = "log"
SEGMENTS: Final = "segments"
DELETED: Final = "deleted"
PREPROCESS: Final = "preprocess"


class Files:
    """The folder and the manifest that is in it now."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.publishing = threading.RLock()  # protects all but `folder`; taken before a state's `writing`
        self.before_publish: Callable[[int], None] = lambda _: None
        """Called with the number of the write up to which the log will be forgotten."""
        self._next = manifest.next_segment
        self._digests = {entry.number: entry.digest for entry in manifest.segments}
        self._deleted: dict[int, Bitmap | None] = {}

    @classmethod
    def create(cls, folder: Path, schema: Schema, preprocess: Preprocess) -> None:
        """Fill an empty folder with an empty collection. OSError."""
        for name in (LOG, SEGMENTS, DELETED, PREPROCESS):
            (folder / name).mkdir()
        files = write_arrays(folder / PREPROCESS, preprocess.arrays())
        sync_folder(folder / PREPROCESS)
        write_manifest(folder, Manifest(schema, preprocess.shape, files))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The folder as its manifest says, without what a crash left."""
        files = cls(folder, read_manifest(folder))
        with told(f"{folder} cannot be cleaned"):
            files.clean()
        return files

    def preprocess(self) -> Preprocess:
        """What is done to vectors on their way in. StorageDamaged."""
        folder, entries = self.folder / PREPROCESS, self.manifest.preprocess_files
        check_arrays(folder, entries)
        return Preprocess.from_parts(self.manifest.preprocess, map_arrays(folder, entries))

    def segments(self) -> list[Part]:
        """The segments with their deletions; those that cannot be read safely are set aside, with the reason."""
        parts, entries = [], []
        for entry in self.manifest.segments:
            try:
                parts.append(self._part(entry))
                entries.append(msgspec.structs.replace(entry, damaged=""))
            except StorageError as error:  # damaged, or on a bad block
                entries.append(msgspec.structs.replace(entry, damaged=error.message))
        self.manifest = msgspec.structs.replace(self.manifest, segments=entries)
        return parts

    def _part(self, entry: SegmentEntry) -> Part:
        segment = Segment.open(self.segment_folder(entry.number), entry.digest)
        if entry.deleted is None:
            return Part(segment)
        name = deleted_name(entry)
        check_arrays(self.folder / DELETED, {name: entry.deleted})
        deleted = np.array(map_arrays(self.folder / DELETED, {name: entry.deleted})[name])
        self._deleted[entry.number] = deleted
        return Part(segment, deleted, size_of(deleted))

    def segment_folder(self, number: int) -> Path:
        """Where a segment lies."""
        return self.folder / SEGMENTS / f"{number:08d}"

    def new_number(self) -> int:
        """A number that no segment has had."""
        with self.publishing:
            self._next += 1
            return self._next - 1

    def write(self, content: SegmentContent) -> Segment:
        """A new segment; it belongs to the collection once it is published. StorageError, StorageFull."""
        folder = self.segment_folder(self.new_number())
        return self.opened(folder, write_segment(folder, content))

    def opened(self, folder: Path, digest: str) -> Segment:
        """A segment that was just written."""
        with self.publishing:
            self._digests[int(folder.name)] = digest
        segment = Segment.open(folder, digest)
        segment.touch()
        return segment

    def digest_of(self, segment: Segment) -> str:
        """Checksum of a segment's head."""
        return self._digests[int(segment.folder.name)]

    def publish(self, state: State, log: Log) -> None:
        """Write what the collection consists of now. StorageError, StorageFull; then the former stands.

        Deletions may be those of a write that no fsync has confirmed, so the log is synced before they are written.
        """
        with self.publishing:
            with state.writing:
                view, origin = state.view, state.covered()
            log.sync()
            self.before_publish(origin.version)
            entries = {entry.number: entry for entry in self.manifest.segments}
            kept = [
                self._entry(int(segment.folder.name), part.deleted, entries)
                for segment, part in view.segments()
            ]
            damaged = [entry for entry in self.manifest.segments if entry.damaged]
            manifest = msgspec.structs.replace(
                self.manifest,
                segments=[*kept, *damaged],
                next_segment=self._next,
                log=origin.log,
                version=origin.version,
            )
            write_manifest(self.folder, manifest)
            self.manifest = manifest
            with told(f"{self.folder} cannot be cleaned"):
                self._remove_former(entries)
            log.forget(origin.log)

    def change_schema(self, schema: Schema) -> None:
        """From now on the collection is of this schema. StorageError, StorageFull; then of the former."""
        with self.publishing:
            manifest = msgspec.structs.replace(self.manifest, schema=schema)
            write_manifest(self.folder, manifest)
            self.manifest = manifest

    def _entry(self, number: int, deleted: Bitmap | None, entries: dict[int, SegmentEntry]) -> SegmentEntry:
        entry = entries.get(number, SegmentEntry(number, self._digests[number]))
        if deleted is None or deleted is self._deleted.get(number):
            return entry
        entry = msgspec.structs.replace(entry, deleted_version=entry.deleted_version + 1)
        name = deleted_name(entry)
        with told(f"{self.folder / DELETED} cannot be written"):
            file = write_arrays(self.folder / DELETED, {name: deleted})[name]
            sync_folder(self.folder / DELETED)
        self._deleted[number] = deleted
        return msgspec.structs.replace(entry, deleted=file)

    def _remove_former(self, entries: dict[int, SegmentEntry]) -> None:
        """What the manifest named before and does not any more."""
        now = {entry.number: entry for entry in self.manifest.segments}
        for number, entry in entries.items():
            if number not in now:
                shutil.rmtree(self.segment_folder(number), ignore_errors=True)
                self._deleted.pop(number, None)
            if entry.deleted is not None and (
                number not in now or now[number].deleted_version != entry.deleted_version
            ):
                (self.folder / DELETED / f"{deleted_name(entry)}.npy").unlink(missing_ok=True)

    def mark_damaged(self, number: int, reason: str) -> None:
        """Set a segment aside: its files stay, so that they can be restored."""
        with self.publishing:
            self.manifest = msgspec.structs.replace(
                self.manifest,
                segments=[
                    msgspec.structs.replace(entry, damaged=reason) if entry.number == number else entry
                    for entry in self.manifest.segments
                ],
            )

    @property
    def damaged(self) -> dict[int, str]:
        """Segments set aside, and why."""
        return {entry.number: entry.damaged for entry in self.manifest.segments if entry.damaged}

    def clean(self) -> None:
        """Remove what the manifest does not name. OSError."""
        named = {f"{entry.number:08d}" for entry in self.manifest.segments}
        for folder in (self.folder / SEGMENTS).iterdir():
            if folder.name not in named:
                shutil.rmtree(folder)
        deletions = {f"{deleted_name(entry)}.npy" for entry in self.manifest.segments if entry.deleted}
        for file in (self.folder / DELETED).iterdir():
            if file.name not in deletions:
                file.unlink()
        for file in self.folder.glob(f"*{PART}"):
            file.unlink()


def deleted_name(entry: SegmentEntry) -> str:
    """Name of the file of a segment's deletions, without its ending."""
    return f"{entry.number:08d}-{entry.deleted_version}"

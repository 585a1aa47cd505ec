"""Snapshots: a collection as it is at one moment, in another folder, made while it is read and written.

Segments and finished logs never change, so a snapshot links them; only the manifest is its own. It is a whole
collection: open it where it is, or `restore` it elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from paceline.base.errors import InvalidRequest
from paceline.vectors.disk import link_or_copy, made_folder, sync_folder
from paceline.vectors.files import DELETED, LOG, PREPROCESS, SEGMENTS, Files, deleted_name
from paceline.vectors.manifest import Manifest, read_manifest, write_manifest
from paceline.vectors.state import State
from paceline.vectors.wal import Log, log_file, log_numbers


def take_snapshot(files: Files, state: State, log: Log, folder: Path) -> None:
    """Put into `folder` what is visible now. Waits for a publication that is under way; delays no read."""
    with files.publishing:
        with state.writing:
            end = log.rotate()
        _copy(files.folder, files.manifest, range(files.manifest.log, end), folder)


def restore(snapshot: Path, folder: Path) -> None:
    """Make the collection `folder`, which must not exist, of a snapshot that is not open. NotFound, StorageDamaged."""
    manifest = read_manifest(snapshot)
    numbers = [number for number in log_numbers(snapshot / LOG) if number >= manifest.log]
    _copy(snapshot, manifest, numbers, folder)


def _copy(source: Path, manifest: Manifest, logs: range | list[int], folder: Path) -> None:
    if folder.exists():
        raise InvalidRequest(f"{folder} exists; choose a folder that does not", param="folder")
    with made_folder(folder) as part:
        names = [f"{PREPROCESS}/{name}.npy" for name in manifest.preprocess_files]
        names += [f"{DELETED}/{deleted_name(entry)}.npy" for entry in manifest.segments if entry.deleted]
        names += [str(log_file(Path(LOG), number)) for number in logs]
        for entry in manifest.segments:
            segment = Path(SEGMENTS) / f"{entry.number:08d}"
            names += [str(segment / file.name) for file in sorted((source / segment).glob("*"))]
        folders = {LOG, SEGMENTS, DELETED, PREPROCESS, *(str(Path(name).parent) for name in names)}
        for name in sorted(folders):
            (part / name).mkdir(parents=True, exist_ok=True)
        for name in names:
            link_or_copy(source / name, part / name)
        for name in sorted(folders):
            sync_folder(part / name)
        write_manifest(part, manifest)

"""What a collection consists of: one small file, replaced in one step whenever segments come or go.

Everything else in the folder counts only if the manifest names it: `segments/NUMBER`, `deleted/NUMBER-VERSION.npy`,
and the logs from `log` on. What it does not name is what a crash left, and is removed when the collection is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import xxhash

from paceline.base.errors import ConfigError, NotFound, StorageDamaged
from paceline.vectors.array_folder import FileEntry, Files
from paceline.vectors.disk import replace_file, told
from paceline.vectors.policy import Schema
from paceline.vectors.preprocess import PreprocessShape

NAME: Final = "manifest.json"
FORMAT: Final = 3
"""Raised by every change that an older version cannot read; then `UPGRADES` gets a step from the one before."""
Tree = dict[str, Any]
UPGRADES: Final[Mapping[int, Callable[[Tree], Tree]]] = {1: lambda tree: tree, 2: lambda tree: tree}
"""By format: makes the manifest of that format one of the next. 2 added `schema.text_field`, 3 what
graphs find (`GraphShape.findings`): both may be left out."""


class SegmentEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A segment that belongs to the collection."""

    number: int
    digest: str
    """Checksum of its head."""
    deleted: FileEntry | None = None
    deleted_version: int = 0
    """Names the file of its deleted rows."""
    damaged: str = ""
    """Why it was set aside; empty while it is in use."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The collection as its files say."""

    schema: Schema
    preprocess: PreprocessShape
    preprocess_files: Files
    segments: list[SegmentEntry] = []
    next_segment: int = 1
    log: int = 1
    """The first log that is not in the segments."""
    version: int = 0
    """Number of the last write that is in the segments."""


class _Envelope(msgspec.Struct, frozen=True):
    format: int
    checksum: str
    """Of format and manifest."""
    manifest: msgspec.Raw


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of `folder`. StorageError, StorageFull; then the old one stands."""
    body = msgspec.json.encode(manifest)
    envelope = _Envelope(FORMAT, _checksum(FORMAT, body), msgspec.Raw(body))
    replace_file(folder / NAME, msgspec.json.encode(envelope))


def read_manifest(folder: Path, upgrades: Mapping[int, Callable[[Tree], Tree]] = UPGRADES) -> Manifest:
    """The manifest of `folder`, of this format or an older one.

    NotFound if there is none, StorageDamaged if it was changed, ConfigError if a newer version wrote it.
    """
    file = folder / NAME
    try:
        with told(f"{file} cannot be read"):
            envelope = msgspec.json.decode(file.read_bytes(), type=_Envelope)
    except FileNotFoundError:
        raise NotFound(f"{folder} holds no collection: {NAME} is missing") from None
    except msgspec.MsgspecError as error:
        raise StorageDamaged(f"{file} cannot be read ({error}); restore a snapshot") from error
    body = bytes(envelope.manifest)
    if _checksum(envelope.format, body) != envelope.checksum:
        raise StorageDamaged(f"{file} was changed after it was written; restore a snapshot")
    return msgspec.convert(upgraded(msgspec.json.decode(body), envelope.format, file, upgrades), Manifest)


def _checksum(written: int, body: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(b"%d\n" % written + body)


def upgraded(
    tree: Tree,
    written: int,
    file: Path,
    upgrades: Mapping[int, Callable[[Tree], Tree]],
    current: int = FORMAT,
) -> Tree:
    """A manifest of the format `written` as one of the `current` format."""
    if written > current:
        raise ConfigError(
            f"{file} has format {written}, this version reads up to {current}; upgrade paceline, or open a snapshot"
        )
    for number in range(written, current):
        tree = upgrades[number](tree)
    return tree

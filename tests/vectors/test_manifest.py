"""The manifest: replaced whole, read from older formats, refused from newer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from paceline.base.errors import ConfigError, NotFound, StorageDamaged
from paceline.vectors.manifest import (
    FORMAT,
    NAME,
    Manifest,
    SegmentEntry,
    read_manifest,
    upgraded,
    write_manifest,
)
from paceline.vectors.policy import Schema
from paceline.vectors.preprocess import PreprocessShape

MANIFEST = Manifest(
    Schema(dimensions=8), PreprocessShape("none", "cosine", 8, 8), {}, [SegmentEntry(1, "abc")], 2, 3, 4
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)

    assert read_manifest(tmp_path) == MANIFEST
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_a_changed_byte_anywhere_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    whole = (tmp_path / NAME).read_bytes()
    for place in range(len(whole)):
        (tmp_path / NAME).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StorageDamaged):
            read_manifest(tmp_path)


def test_a_folder_without_one_holds_no_collection(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="holds no collection"):
        read_manifest(tmp_path)


def test_a_newer_format_asks_for_a_newer_version(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="upgrade paceline"):
        upgraded({}, FORMAT + 1, tmp_path / NAME, {})


def test_an_older_format_is_brought_up_step_by_step() -> None:
    steps = {1: lambda tree: {**tree, "second": True}, 2: lambda tree: {**tree, "third": tree["second"]}}

    assert upgraded({"first": 1}, 1, Path(NAME), steps, current=3) == {
        "first": 1,
        "second": True,
        "third": True,
    }

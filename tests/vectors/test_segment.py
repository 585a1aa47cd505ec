"""Segments: what is written is mapped again, and a changed bit is found before it does harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from collections_of import SMALL, add, filled, ids_of, names, policy, vector

from paceline.base.errors import StorageDamaged
from paceline.vectors.array_folder import check_arrays, map_arrays, write_arrays
from paceline.vectors.collection import Collection

ARRAYS = {"a": np.arange(12, dtype=np.int32).reshape(3, 4), "none": np.zeros((0, 7), np.float32)}


def flip(file: Path, place: int = -1) -> None:
    """Change a bit of a file, without changing the file that a snapshot links to."""
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.unlink()
    file.write_bytes(content)


def two_segments(folder: Path) -> list[Path]:
    """A closed collection of two segments of 64 records each; their folders, older first."""
    with filled(folder, 0, policy(seal_rows=64, graph_rows=10_000)) as collection:
        add(collection, 128, batch=64)
        collection.settle()
    return sorted((folder / "segments").iterdir())


def test_arrays_are_mapped_as_they_were_written_at_a_cache_line(tmp_path: Path) -> None:
    files = write_arrays(tmp_path, ARRAYS)
    mapped = map_arrays(tmp_path, files)

    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(mapped[name], array)
        assert mapped[name].dtype == array.dtype
    assert mapped["a"].ctypes.data % 64 == 0
    assert not mapped["a"].flags.writeable


def test_every_flipped_bit_of_an_array_is_found(tmp_path: Path) -> None:
    files = write_arrays(tmp_path, ARRAYS)
    file = tmp_path / "a.npy"
    whole = file.read_bytes()

    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StorageDamaged, match="restore it from a snapshot"):
            check_arrays(tmp_path, files)


def test_an_array_of_another_size_or_none_is_refused_when_it_is_mapped(tmp_path: Path) -> None:
    files = write_arrays(tmp_path, ARRAYS)
    file = tmp_path / "a.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StorageDamaged, match="bytes, not"):
        map_arrays(tmp_path, files)
    file.unlink()
    with pytest.raises(StorageDamaged, match="is missing"):
        map_arrays(tmp_path, files)


def test_a_damaged_file_of_any_name_is_told_and_the_rest_keeps_working(tmp_path: Path) -> None:
    """Files by which a reader finds its way are checked at opening, all others by `verify`."""
    first, _ = two_segments(tmp_path / "c")
    for file in sorted(first.iterdir()):
        whole = file.read_bytes()
        flip(file)
        with Collection.open(tmp_path / "c", policy=policy(graph_rows=10_000)) as collection:
            at_opening = collection.stats().damaged
            assert (at_opening == {}) == (
                file.stem in {"codes", "fine", "lengths", "ids.octets", "metadata.octets"}
            ), file
            damaged = collection.verify()
            assert list(damaged) == ["1"]
            assert file.name in damaged["1"]
            assert sorted(ids_of(collection)) == sorted(names(64, 64))
        file.unlink()
        file.write_bytes(whole)

    with Collection.open(tmp_path / "c", policy=SMALL) as collection:
        assert collection.stats().damaged == {}
        assert sorted(ids_of(collection)) == sorted(names(128))


def test_a_damaged_segment_is_not_joined_into_a_new_one(tmp_path: Path) -> None:
    first, _ = two_segments(tmp_path / "c")
    flip(first / "codes.npy")
    with Collection.open(tmp_path / "c", policy=policy(graph_rows=16)) as collection:
        collection.compact()

        assert list(collection.stats().damaged) == ["1"]
        assert sorted(ids_of(collection)) == sorted(names(64, 64))
        assert first.exists()


def test_segments_are_verified_after_opening_where_that_is_wanted(tmp_path: Path) -> None:
    first, _ = two_segments(tmp_path / "c")
    flip(first / "codes.npy")
    with Collection.open(tmp_path / "c", policy=policy(graph_rows=10_000, verify_at_open=True)) as collection:
        collection.settle()

        assert list(collection.stats().damaged) == ["1"]


def test_a_segment_whose_deletions_are_damaged_is_set_aside_lest_records_come_back(tmp_path: Path) -> None:
    two_segments(tmp_path / "c")
    how = policy(seal_rows=16, dead_share=1.0, graph_rows=10_000)
    with Collection.open(tmp_path / "c", policy=how) as collection:
        collection.delete(["v3"])
        add(collection, 16, 500)
        collection.settle()
    (deletions,) = (tmp_path / "c" / "deleted").iterdir()
    flip(deletions)
    with Collection.open(tmp_path / "c", policy=how) as collection:
        assert list(collection.stats().damaged) == ["1"]
        assert collection.fetch(["v3"]) == {}
        assert collection.query(vector(70), 1)[0][0].id == "v70"


def test_equal_hashes_are_told_apart_by_the_ids(tmp_path: Path) -> None:
    from paceline.vectors.directory import Directory

    keys = [("", "a"), ("", "b"), ("x", "a"), ("", "a")]
    same = np.full(4, 7, np.uint64)
    directory = Directory.of(same)

    found = directory.find([("", "a"), ("", "b"), ("x", "a"), ("", "nobody")], same, keys.__getitem__)

    assert found.tolist() == [3, 1, 2, -1]
    assert directory.find([("", "a")], np.array([8], np.uint64), keys.__getitem__).tolist() == [-1]

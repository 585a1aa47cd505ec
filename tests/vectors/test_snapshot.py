"""Snapshots and what a crash leaves behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from collections_of import SMALL, STILL, add, filled, ids_of, names, policy
from test_segment import flip

from paceline.base.errors import InvalidRequest, StorageDamaged
from paceline.vectors.collection import Collection
from paceline.vectors.snapshot import restore


def test_a_snapshot_is_the_collection_of_that_moment(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 150) as collection:
        collection.delete(names(10))
        collection.snapshot(tmp_path / "s")
        add(collection, 50, 150)
        collection.delete(everything=True)
        collection.compact()

    restore(tmp_path / "s", tmp_path / "back")
    with Collection.open(tmp_path / "back", policy=SMALL) as back:
        assert sorted(ids_of(back)) == sorted(names(140, 10))
        add(back, 20, 1000)
    with Collection.open(tmp_path / "s", policy=SMALL) as snapshot:
        assert sorted(ids_of(snapshot)) == sorted(names(140, 10))


def test_a_snapshot_taken_while_writing_holds_whole_batches_in_their_order(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 0, policy(seal_rows=32, graph_rows=64)) as collection:
        writer = threading.Thread(target=add, args=(collection, 600))
        writer.start()
        for number in range(5):
            collection.snapshot(tmp_path / f"s{number}")
        writer.join()
    for number in range(5):
        with Collection.open(tmp_path / f"s{number}", policy=STILL) as snapshot:
            held = ids_of(snapshot)
            assert len(held) % 20 == 0
            assert sorted(held) == sorted(names(len(held)))


def test_a_snapshot_goes_into_a_new_folder_only(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 20) as collection, pytest.raises(InvalidRequest, match="exists"):
        collection.snapshot(tmp_path)


def test_a_damaged_segment_is_whole_again_after_the_snapshot_is_restored(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 64, policy(seal_rows=64)) as collection:
        collection.settle()
        collection.snapshot(tmp_path / "s")
    (segment,) = (tmp_path / "c" / "segments").iterdir()
    flip(segment / "ids.at.npy")
    with Collection.open(tmp_path / "c") as damaged:
        assert ids_of(damaged) == []

    restore(tmp_path / "s", tmp_path / "back")
    with Collection.open(tmp_path / "back") as back:
        assert len(ids_of(back)) == 64


def test_what_a_crash_left_is_removed_and_what_was_torn_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    filled(folder, 60, STILL).close()
    (folder / "segments" / "00000099.part").mkdir()
    (folder / "deleted" / "00000099-1.npy").touch()
    (folder / "manifest.json.part").touch()
    (log,) = (folder / "log").iterdir()
    log.write_bytes(log.read_bytes()[:-7])

    with Collection.open(folder, policy=STILL) as collection:
        assert collection.recovery.replayed == 2
        assert collection.recovery.dropped_bytes > 0
        assert sorted(ids_of(collection)) == sorted(names(40))
    assert list((folder / "segments").iterdir()) == []
    assert list((folder / "deleted").iterdir()) == []
    assert not (folder / "manifest.json.part").exists()


def test_a_damaged_log_is_refused_unless_the_damage_may_be_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    filled(folder, 60, STILL).close()
    (log,) = (folder / "log").iterdir()
    flip(log, 100)

    with pytest.raises(StorageDamaged, match="skip_damaged"):
        Collection.open(folder, policy=STILL)
    with Collection.open(folder, policy=STILL, skip_damaged=True) as collection:
        assert collection.recovery.skipped_bytes > 0
        assert sorted(ids_of(collection)) == sorted(names(40, 20))


def test_opening_again_and_again_leaves_no_pile_of_logs(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    filled(folder, 20, STILL).close()
    for _ in range(5):
        Collection.open(folder, policy=STILL).close()

    assert len(list((folder / "log").iterdir())) == 2

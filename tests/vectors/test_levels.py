"""Precisions, compared on a collection's own vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from collections_of import STILL

from paceline.base.errors import InvalidRequest
from paceline.vectors.codes import PRECISIONS
from paceline.vectors.collection import Collection
from paceline.vectors.levels import FEWEST, measured_levels
from paceline.vectors.policy import Schema

DIMENSIONS = 64


def made(folder: Path, count: int, **fields: object) -> Collection:
    """Vectors around 20 centres, half of them sealed."""
    draw = np.random.default_rng(1)
    centres = draw.standard_normal((20, DIMENSIONS))
    rows = centres[draw.integers(0, 20, count)] + 0.5 * draw.standard_normal((count, DIMENSIONS))
    collection = Collection.create(folder, Schema(dimensions=DIMENSIONS, **fields), policy=STILL)
    ids = [f"v{i}" for i in range(count)]
    collection.upsert_arrays(ids[: count // 2], rows[: count // 2])
    collection.compact()
    collection.upsert_arrays(ids[count // 2 :], rows[count // 2 :])
    return collection


def test_every_precision_tells_its_recall_and_its_bytes(tmp_path: Path) -> None:
    """Fewer bits, fewer bytes; what a copy re-scores loses little."""
    with made(tmp_path / "c", 2000) as collection:
        table = measured_levels(collection, queries=100)

    levels = {level.precision: level for level in table.levels}
    assert [*levels] == [*PRECISIONS]
    assert (table.rows, table.queries, table.k, table.ef, table.current) == (1900, 100, 10, 100, "int8")
    assert [level.code_bytes for level in table.levels] == [256, 128, 128, 64, 64]
    assert {level.fine_bytes for level in table.levels} == {128}
    assert levels["fp32"].held_bytes == 256 + levels["fp32"].graph_bytes
    assert 128 <= levels["fp32"].graph_bytes <= 160
    assert all(level.recall > 0.95 for level in table.levels if level.precision != "binary")
    assert 0.5 < levels["binary"].recall <= 1
    assert all(level.qps > 0 and not level.refused for level in table.levels)


def test_without_a_copy_the_coarse_lose_and_are_refused(tmp_path: Path) -> None:
    """The table says why."""
    with made(tmp_path / "c", 1500, precision="fp32", rescore="none") as collection:
        table = measured_levels(collection, precisions=("fp32", "binary"), queries=50)

    fine, coarse = table.levels
    assert fine.recall > 0.95 > coarse.recall
    assert (fine.refused, fine.fine_bytes) == ("", 0)
    assert "only copy" in coarse.refused
    lines = table.text().splitlines()
    assert lines[1].endswith("<- now")
    assert lines[2].endswith("refused")
    assert "none re-scored" in lines[3]
    assert lines[4].startswith("binary: the codes in fp32")


def test_too_few_records_tell_nothing(tmp_path: Path) -> None:
    """All of them are scanned anyway."""
    with (
        made(tmp_path / "c", 100) as collection,
        pytest.raises(InvalidRequest, match=f"holds 100 records; {FEWEST} are"),
    ):
        measured_levels(collection)


def test_a_sample_is_of_all_live_records(tmp_path: Path) -> None:
    """Each once, the same for the same seed, and no more than there are."""
    with made(tmp_path / "c", 200, rescore="fp32") as collection:
        collection.delete(["v0", "v150"])
        whole = collection.sample(1000)
        some = collection.sample(50, seed=3)

        assert whole.shape == (198, DIMENSIONS)
        assert len(np.unique(whole, axis=0)) == 198
        np.testing.assert_array_equal(some, collection.sample(50, seed=3))
        assert len({row.tobytes() for row in some} & {row.tobytes() for row in whole}) == 50
    with Collection.create(tmp_path / "e", Schema(dimensions=DIMENSIONS), policy=STILL) as empty:
        assert empty.sample(10).shape == (0, DIMENSIONS)

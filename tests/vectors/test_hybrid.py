"""Rankings by vector and by words, fused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from collections_of import DIMENSIONS, STILL, vector

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.collection import Collection
from paceline.vectors.hybrid import HybridSearch, fused
from paceline.vectors.policy import Schema
from paceline.vectors.record import Record
from paceline.vectors.text_index import TextIndex

TEXTS = {
    "cat": "a small animal with soft fur that is kept as a pet",
    "dog": "an animal kept as a pet or for hunting",
    "car": "a vehicle with four wheels and an engine",
    "van": "a covered vehicle for carrying goods",
}


@pytest.fixture
def hybrid(tmp_path: Path) -> Iterator[HybridSearch]:
    """Four texts; their vectors are those of seeds 0 to 3."""
    with Collection.create(tmp_path / "c", Schema(dimensions=DIMENSIONS), policy=STILL) as collection:
        made = HybridSearch(collection, TextIndex(tmp_path / "texts"))
        made.upsert(
            [Record(name, vector(i), {"text": text, "n": i}) for i, (name, text) in enumerate(TEXTS.items())]
        )
        yield made
        made.texts.close()


def test_fusion_adds_reciprocal_ranks() -> None:
    """Of all rankings, with the constant 60."""
    assert fused([["a", "b"], ["b", "c"]]) == [("b", 1 / 62 + 1 / 61), ("a", 1 / 61), ("c", 1 / 62)]


def test_weights_count_a_ranking_more_or_not_at_all() -> None:
    """Twice, and never."""
    assert fused([["a"], ["b"]], [1, 2]) == [("b", 2 / 61), ("a", 1 / 61)]
    assert fused([["a"], ["b"]], [1, 0]) == [("a", 1 / 61)]


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0]])
def test_weights_that_mean_nothing_are_refused(weights: list[float]) -> None:
    """One for each, none negative, not all nothing."""
    with pytest.raises(InvalidRequest, match="for 2 rankings"):
        fused([["a"], ["b"]], weights)


def test_texts_are_found_by_stems_best_first(hybrid: HybridSearch) -> None:
    """More of the words, a shorter text: better."""
    assert [name for name, _ in hybrid.texts.search("hunting pets", 10)] == ["dog", "cat"]
    assert [name for name, _ in hybrid.texts.search("VEHICLES!", 10)] == ["van", "car"]
    assert hybrid.texts.search("...", 10) == []


def test_a_record_that_both_find_is_first(hybrid: HybridSearch) -> None:
    """The vector says van, the words say vehicle."""
    found = hybrid.query("vehicle", vector(3), 3, include_metadata=True)

    assert found[0].id == "van"
    assert found[0].metadata == {"text": TEXTS["van"], "n": 3}
    assert found[0].score == pytest.approx(1 / 61 + 1 / 61)


def test_words_find_what_the_vector_does_not(hybrid: HybridSearch) -> None:
    """With all weight on them."""
    assert [match.id for match in hybrid.query("hunting", vector(2), 1, weights=(0, 1))] == ["dog"]


def test_filters_and_namespaces_hold_for_both(hybrid: HybridSearch) -> None:
    """Also far down in the ranking by words."""
    hybrid.upsert(
        [Record(f"x{i}", vector(50 + i), {"text": "pet pet pet", "n": 100 + i}) for i in range(250)]
    )
    hybrid.upsert([Record("cat", vector(9), {"text": "a pet of others"}, "other")])

    found = hybrid.query("pet", vector(0), 10, filter={"n": {"$lt": 3}})

    assert {match.id for match in found} == {"cat", "dog", "car"}
    assert hybrid._by_words("pet", 100, "", {"n": {"$lt": 3}}) == ["dog", "cat"]
    assert [match.id for match in hybrid.query("pet", vector(0), 10, namespace="other")] == ["cat"]


def test_a_replaced_or_deleted_record_leaves_its_words(hybrid: HybridSearch) -> None:
    """A text that is gone from the metadata is gone from the index."""
    hybrid.upsert([Record("cat", vector(0), {"text": "a wild animal"}), Record("dog", vector(1), {"n": 1})])
    hybrid.delete(["van"])

    assert hybrid.texts.search("pet", 10) == []
    assert [name for name, _ in hybrid.texts.search("animal", 10)] == ["cat"]
    assert [name for name, _ in hybrid.texts.search("vehicle", 10)] == ["car"]


def test_texts_are_made_anew_from_the_collection(hybrid: HybridSearch) -> None:
    """After writes that went past them."""
    hybrid.collection.upsert([Record("bus", vector(7), {"text": "a large vehicle for people"})])
    hybrid.collection.delete(["van"])
    hybrid.rebuild()

    assert {name for name, _ in hybrid.texts.search("vehicle", 10)} == {"bus", "car"}
    assert len(hybrid.texts) == 4


def test_texts_outlive_the_process(hybrid: HybridSearch, tmp_path: Path) -> None:
    """In their folder."""
    hybrid.texts.close()

    assert [name for name, _ in TextIndex(tmp_path / "texts").search("engine", 10)] == ["car"]


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to install it."""
    monkeypatch.setitem(sys.modules, "tantivy", None)

    with pytest.raises(ConfigError, match=r"pip install 'paceline\[hybrid\]'"):
        TextIndex()

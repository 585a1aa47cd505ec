"""Rankings by vector and by words, fused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from collections_of import DIMENSIONS, STILL, vector

from paceline.base.errors import InvalidRequest
from paceline.vectors.collection import Collection
from paceline.vectors.hybrid import DEPTH, depth_of, fused, fused_matches, hybrid_query
from paceline.vectors.policy import Schema
from paceline.vectors.record import Match, Record
from paceline.vectors.searched import MOST_RESULTS

TEXTS = {
    "cat": "a small animal with soft fur that is kept as a pet",
    "dog": "an animal kept as a pet or for hunting",
    "car": "a vehicle with four wheels and an engine",
    "van": "a covered vehicle for carrying goods",
}


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    """Four texts; their vectors are those of seeds 0 to 3."""
    schema = Schema(dimensions=DIMENSIONS, text_field="text")
    with Collection.create(tmp_path / "c", schema, policy=STILL) as made:
        made.upsert(
            [Record(name, vector(i), {"text": text, "n": i}) for i, (name, text) in enumerate(TEXTS.items())]
        )
        yield made


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


def test_fused_matches_keep_what_a_ranking_says_of_them() -> None:
    """The first that has the record; only the score is another."""
    near, words = [Match("a", 0.9, {"by": "vector"})], [Match("b", 7.0, {"by": "words"}), Match("a", 5.0)]

    assert fused_matches([near, words], 2) == [
        Match("a", 1 / 61 + 1 / 62, {"by": "vector"}),
        Match("b", 1 / 61, {"by": "words"}),
    ]
    assert [match.id for match in fused_matches([near, words], 1, [0, 1])] == ["b"]


def test_rankings_are_taken_deep_enough_and_not_deeper_than_a_search_gives() -> None:
    """At least DEPTH, at most MOST_RESULTS."""
    assert [depth_of(k) for k in (1, DEPTH + 1, MOST_RESULTS)] == [DEPTH, DEPTH + 1, MOST_RESULTS]


def test_a_record_that_both_find_is_first(collection: Collection) -> None:
    """The vector says van, the words say vehicle."""
    found = hybrid_query(collection, "vehicle", vector(3), 3, include_metadata=True)

    assert found[0].id == "van"
    assert found[0].metadata == {"text": TEXTS["van"], "n": 3}
    assert found[0].score == pytest.approx(1 / 61 + 1 / 61)


def test_a_hybrid_query_is_the_fusion_of_both_rankings(collection: Collection) -> None:
    """Of texts among which no two are as near, or share as much."""
    near = collection.query(vector(1), depth_of(3))[0]
    words = collection.by_words("animal pet hunting", depth_of(3))

    found = hybrid_query(collection, "animal pet hunting", vector(1), 3)

    assert [match.id for match in words] == ["dog", "cat"]
    assert found == fused_matches([near, words], 3)


def test_words_find_what_the_vector_does_not(collection: Collection) -> None:
    """With all weight on them, and no vector at all."""
    assert [match.id for match in hybrid_query(collection, "hunting", None, 1, weights=(0, 1))] == ["dog"]


def test_filters_and_namespaces_hold_for_both(collection: Collection) -> None:
    """Also far down in the ranking by words."""
    collection.upsert(
        [Record(f"x{i}", vector(50 + i), {"text": "pet pet pet", "n": 100 + i}) for i in range(250)]
    )
    collection.upsert([Record("cat", vector(9), {"text": "a pet of others"}, "other")])

    found = hybrid_query(collection, "pet", vector(0), 10, filter={"n": {"$lt": 3}})

    assert {match.id for match in found} == {"cat", "dog", "car"}
    assert [match.id for match in hybrid_query(collection, "pet", vector(0), 10, namespace="other")] == [
        "cat"
    ]

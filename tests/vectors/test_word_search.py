"""Words among records that pass a filter: as if nothing else were there, at every selectivity."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from collections_of import DIMENSIONS, SMALL, names, vectors

from paceline.base.errors import InvalidRequest
from paceline.vectors import word_search
from paceline.vectors.collection import Collection
from paceline.vectors.policy import Schema

COUNT = 1500


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """Records n; the text has `often` in all and `seldom` in every seventh, the later ones are longer."""
    folder = tmp_path_factory.mktemp("words") / "c"
    with Collection.create(folder, Schema(dimensions=DIMENSIONS, text_field="t"), policy=SMALL) as made:
        for start in range(0, COUNT, 300):
            metadata = [
                {"n": n, "t": "often " + "seldom " * (n % 7 == 0) + "filling " * (n // 100)}
                for n in range(start, start + 300)
            ]
            made.upsert_arrays(names(300, start), vectors(300, start), metadata)
        made.upsert_arrays(["v0"], vectors(1), [{"t": "seldom often", "n": 0}], namespace="other")
        yield made


@pytest.mark.parametrize("few", [0, word_search.FEW])
@pytest.mark.parametrize("above", [-1, 10, 750, 1480, 1499, 2000])
def test_the_best_that_pass_are_found(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, few: int, above: int
) -> None:
    """By name and by walking down; those that pass are the worst of the ranking."""
    monkeypatch.setattr(word_search, "FEW", few)
    monkeypatch.setattr(word_search, "_FIRST", 16)
    whole = collection.by_words("often seldom", 10_000, include_metadata=True)
    expected = [match.id for match in whole if match.metadata is not None and match.metadata["n"] > above]

    matches = collection.by_words("often seldom", 20, filter={"n": {"$gt": above}})

    assert len(whole) == COUNT
    assert len(matches) == min(20, len(expected))
    assert {match.id for match in matches} <= set(expected)
    scores = {match.id: match.score for match in whole}
    np.testing.assert_allclose(
        [match.score for match in matches], [scores[name] for name in expected[:20]], rtol=1e-5
    )


def test_what_is_too_far_down_is_searched_by_name(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk has an end, the answer is the same."""
    monkeypatch.setattr(word_search, "FEW", 0)
    monkeypatch.setattr(word_search, "_FIRST", 4)
    monkeypatch.setattr(word_search, "_MOST_LOOKED_AT", 16)

    matches = collection.by_words("often", 5, filter={"n": {"$gte": 1400}}, include_metadata=True)

    assert [match.metadata["n"] >= 1400 for match in matches if match.metadata] == [True] * 5


def test_namespaces_are_searched_apart(collection: Collection) -> None:
    """With a filter and without."""
    assert [match.id for match in collection.by_words("seldom", namespace="other")] == ["v0"]
    assert [match.id for match in collection.by_words("often", namespace="other", filter={"n": 0})] == ["v0"]
    assert collection.by_words("often", namespace="none") == []


def test_matches_bring_what_is_asked_for(collection: Collection) -> None:
    """Metadata, vectors, or neither."""
    bare = collection.by_words("seldom", 1, namespace="other")[0]
    full = collection.by_words("seldom", 1, namespace="other", include_metadata=True, include_vectors=True)[0]

    assert (bare.metadata, bare.vector) == (None, None)
    assert full.metadata == {"t": "seldom often", "n": 0}
    np.testing.assert_allclose(full.vector, vectors(1)[0], rtol=1e-2)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"text": 7}, "text is a int"),
        ({"text": "often", "k": 0}, "k is 0"),
        ({"text": "often", "k": 10_001}, "k is 10001"),
        ({"text": "often", "filter": {"m": 1}}, "no record has the field 'm'"),
        ({"text": "often", "namespace": "a\0b"}, "namespace is"),
    ],
)
def test_bad_input_is_named(collection: Collection, asked: dict[str, object], message: str) -> None:
    """As in a search by vector."""
    with pytest.raises(InvalidRequest, match=message):
        collection.by_words(**asked)

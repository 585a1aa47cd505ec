"""Contestants that are installed, on data small enough for the truth to be reached."""

import numpy as np
import pytest
from small_corpus import small_corpus

from paceline.base.errors import PacelineError
from paceline.vectors.bench.contestant import Setup, padded
from paceline.vectors.bench.roster import ROSTER
from paceline.vectors.exact import recall

INSTALLED = [name for name, entry in ROSTER.items() if not entry.missing]
THOROUGH = 1_000
LEAST = {
    **dict.fromkeys(("paceline-fp16", "paceline-bf16", "faiss-bf16", "usearch-bf16"), 0.98),
    **dict.fromkeys(("faiss-sq8", "usearch-i8", "milvus-sq"), 0.95),
    "paceline-binary": 0.8,
}
"""What their numbers allow; others hold the vectors exactly, or score again on what is nearly so."""


@pytest.fixture(scope="module")
def corpus():
    return small_corpus()


@pytest.fixture
def built(request, corpus, tmp_path):
    made = ROSTER[request.param].made(Setup(str(tmp_path), corpus.shape.dimensions))
    made.build(corpus.vectors)
    yield made
    made.close()


@pytest.mark.parametrize("name", INSTALLED)
def test_an_index_opened_again_finds_the_truth_when_it_looks_far(name, corpus, tmp_path):
    setup = Setup(str(tmp_path), corpus.shape.dimensions)
    first = ROSTER[name].made(setup)
    first.build(corpus.vectors)
    first.close()

    again = ROSTER[name].made(setup)
    again.open()
    again.set_effort(THOROUGH)
    found = again.rows(again.search(corpus.queries, 10), 10)
    alone = again.rows(again.search(corpus.queries[:1], 10), 10)
    again.close()

    assert recall(found, corpus.truth) >= LEAST.get(name, 0.999)
    assert set(alone[0]) == set(found[0])


@pytest.mark.parametrize("built", [name for name in INSTALLED if not name.startswith("faiss")], indirect=True)
def test_what_is_replaced_is_found_in_its_new_place_and_what_is_deleted_nowhere(built, corpus):
    rows = np.array([5, 6, 7], np.int32)
    others = -corpus.vectors[rows]
    built.set_effort(THOROUGH)

    built.replace(rows, others)
    moved = built.rows(built.search(others, 10), 10)
    built.delete(rows)
    left = built.rows(built.search(others, 10), 10)

    assert moved[:, 0].tolist() == rows.tolist()
    assert not np.isin(rows, left).any()


@pytest.mark.parametrize("built", ["faiss-flat"], indirect=True)
def test_faiss_says_that_it_cannot_change(built, corpus):
    assert "no way to remove" in built.unchangeable
    with pytest.raises(PacelineError, match="no way to remove"):
        built.delete(np.array([1], np.int32))
    with pytest.raises(PacelineError, match="no way to remove"):
        built.replace(np.array([1], np.int32), corpus.vectors[:1])


@pytest.mark.parametrize(("built", "least"), [("faiss-flat", 4 * 48), ("faiss-sq8", 48)], indirect=["built"])
def test_held_bytes_are_those_of_codes_and_links(built, least, corpus):
    held = built.held_bytes() / len(corpus.vectors)

    assert least + 4 * 32 <= held < least + 4 * 32 + 16


def test_lists_that_end_early_are_padded():
    assert padded([[3, 4], [], [1, 2, 5, 6]], 3).tolist() == [[3, 4, -1], [-1, -1, -1], [1, 2, 5]]

"""A pass over the queries: all of them, or those that its seconds allow."""

import numpy as np
import pytest
from small_corpus import small_corpus

from paceline.vectors.bench.contestant import Setup
from paceline.vectors.bench.measure_search import FEWEST_QUERIES, affordable, search_pass
from paceline.vectors.bench.roster import ROSTER
from paceline.vectors.exact import recall

NO_TIME, AMPLE_S = 1e-9, 600.0
EFFORT = 64


@pytest.fixture(scope="module")
def corpus():
    return small_corpus()


@pytest.fixture(scope="module")
def index(corpus, tmp_path_factory):
    made = ROSTER["faiss-flat"].made(Setup(str(tmp_path_factory.mktemp("index")), corpus.shape.dimensions))
    made.build(corpus.vectors)
    yield made
    made.close()


def test_with_time_enough_every_query_is_searched_together_and_alone(corpus, index):
    found = search_pass(index, corpus, EFFORT, AMPLE_S, singles=True)

    assert (found.queries, len(found.single_ms)) == (40, 40)
    assert found.recall > 0.95


def test_a_pass_without_time_searches_the_fewest_and_its_recall_is_of_those(corpus, index):
    found = search_pass(index, corpus, 10, NO_TIME, singles=True)

    first = index.rows(index.search(corpus.queries[:FEWEST_QUERIES], 10), 10)
    assert (found.queries, len(found.single_ms)) == (FEWEST_QUERIES, FEWEST_QUERIES)
    assert found.recall == recall(first, corpus.truth[:FEWEST_QUERIES])


def test_none_is_searched_alone_unless_that_is_asked_for(corpus, index):
    assert search_pass(index, corpus, EFFORT, NO_TIME, singles=False).single_ms == []


def test_what_is_affordable_is_never_more_than_there_is(corpus, index):
    index.set_effort(EFFORT)

    assert affordable(index, corpus.queries, 10, AMPLE_S) == 40
    assert affordable(index, corpus.queries[:5], 10, NO_TIME) == 5


def test_what_is_affordable_grows_with_the_seconds(corpus, index):
    index.set_effort(EFFORT)
    many = np.repeat(corpus.queries, 10_000, axis=0)

    assert FEWEST_QUERIES < affordable(index, many, 10, 1.0) < len(many)

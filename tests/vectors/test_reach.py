"""How far a walk looks follows from its ef, unless there are no distances to tell by."""

from __future__ import annotations

import numpy as np
import pytest
from clustered import clustered

from paceline.vectors.codes import Coded, Coder
from paceline.vectors.compiled.records import REACH_UNIT
from paceline.vectors.exact import nearest, recall
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.growing import build_graph
from paceline.vectors.metric import Metric
from paceline.vectors.reach import reaching


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_between_half_of_ef_and_one_and_a_half_the_distance_decides(metric: Metric) -> None:
    wanted = reaching(10, 60, 32, metric)

    assert (wanted.least, wanted.ef, wanted.room) == (30, 90, 90)
    assert wanted.reach == round(6 ** (1 / 12) * REACH_UNIT)


def test_as_many_results_as_ef_are_the_expanded_rows() -> None:
    wanted = reaching(60, 20, 0, "cosine")

    assert (wanted.least, wanted.reach) == (60, REACH_UNIT)


def test_a_larger_ef_reaches_farther() -> None:
    reaches = [reaching(10, ef, 0, "cosine").reach for ef in (10, 20, 100, 1000)]

    assert reaches == sorted(set(reaches))


def test_inner_products_have_no_distance_to_go_by() -> None:
    wanted = reaching(10, 60, 32, "dot")

    assert (wanted.least, wanted.ef, wanted.room, wanted.reach) == (0, 60, 60, 0)


def test_the_pool_holds_what_is_scored_again_and_what_a_filter_needs() -> None:
    assert reaching(10, 12, 32, "cosine").room == 32
    assert reaching(10, 12, 32, "cosine", need=32, room=500).room == 500


@pytest.mark.parametrize("ef", [20, 60])
def test_queries_amid_copies_of_themselves_are_answered(ef: int) -> None:
    vectors = np.repeat(clustered(60), 20, axis=0)
    coded = Coded.of(Coder.learn(vectors, "int8"), vectors)
    search = GraphSearch(build_graph(vectors), coded, Coded.of(Coder.learn(vectors, "fp16"), vectors))

    _, found = search.search(vectors[::20], 10, ef)

    assert (found > 0.999).mean() >= 0.95
    assert (
        recall(search.search(vectors[::20], 1, ef)[0] // 20, nearest(vectors[::20], vectors, 1)[0] // 20)
        >= 0.95
    )

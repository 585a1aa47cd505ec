"""Tuning takes the quickest setting that is sure to hold, and a watch notices when it no longer does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from clustered import clustered

from paceline.base.errors import InvalidRequest
from paceline.vectors.collection import Collection
from paceline.vectors.policy import Schema, UpkeepPolicy, VectorsPolicy
from paceline.vectors.recall import RecallTable, exact_ids, tune
from paceline.vectors.recall_watch import Promise, RecallWatch
from paceline.vectors.recent_queries import RecentQueries

COUNT, DIMENSIONS = 4000, 48
VECTORS = clustered(COUNT)
QUERIES = clustered(400, seed=2)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """4,000 vectors under a graph, built with too few links to be perfect."""
    policy = VectorsPolicy(upkeep=UpkeepPolicy(seal_rows=8000, graph_rows=1000))
    folder: Path = tmp_path_factory.mktemp("recall") / "c"
    with Collection.create(folder, Schema(dimensions=DIMENSIONS), policy=policy) as made:
        made.upsert_arrays([str(i) for i in range(COUNT)], VECTORS)
        made.compact()
        yield made


@pytest.fixture(scope="module")
def table(collection: Collection) -> RecallTable:
    """Tuned for 0.97."""
    return tune(collection, QUERIES, 0.97)


def test_exact_answers_are_the_true_neighbours(collection: Collection) -> None:
    """By inner products of the vectors themselves."""
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    best = np.argsort(-(QUERIES[:20] @ unit.T), axis=1)[:, :10]

    agreed = [
        len(near & {str(i) for i in rows})
        for near, rows in zip(exact_ids(collection, QUERIES[:20], 10), best.tolist(), strict=True)
    ]

    assert sum(agreed) >= 199  # one pair may be nearer to each other than fp16 can tell


def test_the_chosen_setting_holds_on_queries_it_was_not_chosen_by(
    collection: Collection, table: RecallTable
) -> None:
    """That is the promise."""
    other = clustered(400, seed=3)
    truth = exact_ids(collection, other, 10)
    assert table.chosen is not None

    found = collection.query(other, 10, ef=table.chosen.ef, candidates=table.chosen.candidates)

    assert (
        np.mean([len(near & {m.id for m in one}) / 10 for near, one in zip(truth, found, strict=True)])
        >= 0.97
    )


def test_no_quicker_setting_in_the_table_is_sure(table: RecallTable) -> None:
    """Levels run from thorough to quick; the chosen one is the last that holds."""
    assert table.chosen is not None
    efs = [level.ef for level in table.levels]
    assert efs == sorted(efs, reverse=True) or table.chosen.candidates < table.levels[0].candidates
    assert all(level.bound < level.recall or level.recall == 1 for level in table.levels)
    quicker = [level for level in table.levels if level.ef < table.chosen.ef]
    assert not quicker or quicker[0].bound < 0.97
    assert table.chosen.ef < 400


def test_the_table_reads_as_text(table: RecallTable) -> None:
    """ef, recall, its bound, latencies, rate, and the choice."""
    lines = table.text().splitlines()

    assert lines[0].split() == [
        "ef",
        "re-scored",
        "recall@10",
        "at",
        "least",
        "p50",
        "ms",
        "p99",
        "ms",
        "QPS",
    ]
    assert len(lines) == len(table.levels) + 2
    assert sum("<- chosen" in line for line in lines) == 1


def test_what_cannot_be_promised_is_said(collection: Collection) -> None:
    """A target beyond what so few queries can prove leaves no choice."""
    table = tune(collection, QUERIES, 0.9999, efs=(64, 16))

    assert table.chosen is None
    assert "none is sure to hold 0.9999" in table.text()


@pytest.mark.parametrize(
    ("queries", "target", "param"), [(50, 0.9, "queries"), (400, 1.0, "recall"), (400, 0.0, "recall")]
)
def test_too_few_queries_or_an_impossible_target_are_refused(
    collection: Collection, queries: int, target: float, param: str
) -> None:
    """With what would do."""
    with pytest.raises(InvalidRequest) as caught:
        tune(collection, QUERIES[:queries], target)

    assert caught.value.param == param


def test_the_ring_keeps_the_last_queries() -> None:
    """One in `every`, counted over all calls; a sample has none twice."""
    ring = RecentQueries(1, room=4, every=3)
    for number in range(0, 20, 2):
        ring.add(np.array([[number], [number + 1]]))

    assert sorted(ring.sample(10)[:, 0].tolist()) == [9.0, 12.0, 15.0, 18.0]
    assert len(ring.sample(2)) == 2
    with pytest.raises(InvalidRequest, match="room is 0"):
        RecentQueries(1, room=0)


def test_the_ring_knows_where_a_query_was_asked() -> None:
    """A namespace is tuned on its own."""
    ring = RecentQueries(1)
    ring.add(np.array([[1.0], [2.0]]))
    ring.add(np.array([3.0]), "space")

    assert ring.sample(10, namespace="space").tolist() == [[3.0]]
    assert len(ring.sample(10, namespace="")) == 2
    assert len(ring.sample(10)) == 3
    assert ring.sample(10, namespace="other").shape == (0, 1)


class Hands:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_watch_checks_after_writes_and_tunes_when_it_must(tmp_path: Path) -> None:
    """Not without writes, not too often; what it chooses is applied."""
    policy = VectorsPolicy(upkeep=UpkeepPolicy(seal_rows=8000, graph_rows=1000))
    recent, clock, applied = RecentQueries(DIMENSIONS), Hands(), []
    with Collection.create(tmp_path / "c", Schema(dimensions=DIMENSIONS), policy=policy) as made:
        made.upsert_arrays([str(i) for i in range(2000)], VECTORS[:2000])
        made.compact()
        watch = RecallWatch(
            made,
            recent,
            Promise(0.97),
            lambda ef, candidates: applied.append((ef, candidates)),
            every_s=60,
            clock=clock,
        )
        assert watch.is_due()
        assert watch.check().state == "too few queries"

        clock.now = 61
        recent.add(QUERIES)
        assert watch.is_due()
        first = watch.check()
        assert first.state == "holds"
        assert first.bound >= 0.97
        assert applied == []

        made.upsert_arrays(["new"], VECTORS[:1])
        assert not watch.is_due()
        clock.now = 130
        assert watch.is_due()
        watch._ef, watch._candidates = 1, 10
        second = watch.check()
        assert second.state == "tuned"
        assert applied == [(second.table.chosen.ef, second.table.chosen.candidates)]
        clock.now = 1000
        assert not watch.is_due()

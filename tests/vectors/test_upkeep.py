"""When segments are joined, and what becomes of writes that come meanwhile."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from collections_of import add, filled, names, policy, vector

from paceline.vectors.batch import Deletes
from paceline.vectors.collection import Collection
from paceline.vectors.join_plan import to_join, to_join_quickly
from paceline.vectors.policy import UpkeepPolicy
from paceline.vectors.upkeep import Upkeep
from paceline.vectors.view import Part

NEVER = policy(seal_rows=50, graph_rows=1_000_000, dead_share=1.0)
"""Seals fifty at a time and joins nothing but when told to."""


def parts_of(collection: Collection, *without: tuple[int, int]) -> list[Part]:
    """The sealed parts, in the order of their writes; of each (place, count) in `without` so many rows are deleted."""
    parts = list(collection._state.view.sealed)
    for place, count in without:
        parts[place] = parts[place].without(np.arange(count))
    return parts


def sizes(chosen: list[Part]) -> list[int]:
    return [part.live for part in chosen]


def test_few_segments_without_a_graph_are_left_alone(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 0, NEVER) as collection:
        add(collection, 150, batch=50)
        collection.settle()
        parts = parts_of(collection)

        assert to_join(parts, UpkeepPolicy(graph_rows=151)) == []
        assert sizes(to_join(parts, UpkeepPolicy(graph_rows=150))) == [50, 50, 50]


def test_what_is_joined_takes_in_segments_that_are_not_much_larger(tmp_path: Path) -> None:
    """A segment of 820 records has a graph; 100 fresh ones take it in once it has 20 fewer."""
    with filled(tmp_path / "c", 0, policy(seal_rows=50, graph_rows=16, dead_share=1.0)) as collection:
        add(collection, 820, batch=50)
        collection.compact()
        with collection.loading():
            add(collection, 100, 820, batch=50)
            collection.settle()
            parts = parts_of(collection)
            assert [(part.live, part.source.graph is not None) for part in parts] == [
                (820, True),
                (50, False),
                (50, False),
            ]
            some = UpkeepPolicy(graph_rows=100)

            assert sizes(to_join(parts, some)) == [50, 50]
            assert sizes(to_join(parts_of(collection, (0, 20)), some)) == [800, 50, 50]


def test_a_join_takes_the_fresh_records_in(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 0, policy(seal_rows=50, graph_rows=60)) as collection:
        add(collection, 119, batch=7)
        collection.settle()

        assert sizes(parts_of(collection)) == [119]
        assert collection._state.tail.count == 0


def test_a_segment_with_many_deleted_rows_is_rewritten(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 0, policy(seal_rows=50, graph_rows=16)) as collection:
        add(collection, 100, batch=50)
        collection.compact()

        assert to_join(parts_of(collection, (0, 9)), UpkeepPolicy(graph_rows=16, dead_share=0.1)) == []
        assert sizes(to_join(parts_of(collection, (0, 10)), UpkeepPolicy(graph_rows=16, dead_share=0.1))) == [
            90
        ]


def test_nothing_grows_beyond_the_largest_segment_allowed(tmp_path: Path) -> None:
    how = policy(seal_rows=600, graph_rows=1_000_000, dead_share=1.0)
    with filled(tmp_path / "c", 0, how) as collection:
        add(collection, 1800, batch=600)
        collection.settle()

        chosen = to_join(parts_of(collection), UpkeepPolicy(most_rows=1200), everything=True)
        assert sizes(chosen) == [600, 600]


def test_what_was_deleted_while_segments_were_joined_is_deleted_in_the_new_one(tmp_path: Path) -> None:
    """The join is done by hand, so that the deletion falls between its beginning and its end for certain."""
    with filled(tmp_path / "c", 0, NEVER) as collection:
        add(collection, 100, batch=50)
        collection.settle()
        collection.delete(["v3"])
        inputs = parts_of(collection)
        segment = collection._upkeep._joined(inputs, quick=False)
        collection.delete(["v4", "v77"])

        with collection._state.writing:
            assert collection._state.joined_as(inputs, segment)
        gone = {"v3", "v4", "v77"}
        assert len(segment) == 99
        assert collection.stats().segments == 1
        assert {match.id for match in collection.query(vector(0), 200)[0]} == set(names(100)) - gone


def test_a_join_of_a_segment_that_was_set_aside_is_given_up(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 0, NEVER) as collection:
        add(collection, 100, batch=50)
        collection.settle()
        inputs = parts_of(collection)
        segment = collection._upkeep._joined(inputs, quick=False)
        collection._state.set_aside(inputs[0].source)

        assert not collection._state.joined_as(inputs, segment)
        assert collection.stats().records == 50


def test_deleting_what_is_not_there_makes_no_new_bitmap(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 0, NEVER) as collection:
        add(collection, 50, batch=50)
        collection.settle()
        (part,) = parts_of(collection)
        batch = Deletes.of([("", "nobody"), ("other", "v1")])

        assert part.without(part.source.find(batch.keys, batch.hashes)) is part


def test_a_collection_that_is_in_order_looks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its two threads tell each other when they end a look; that is no reason to look again."""
    looks, seal = [], Upkeep._seal
    monkeypatch.setattr(Upkeep, "_seal", lambda self: looks.append(self) or seal(self))
    with filled(tmp_path / "c", 0, NEVER) as collection:
        add(collection, 150, batch=50)
        collection.settle()
        before = len(looks)
        Event().wait(0.2)  # in which endless turns would be thousands

        assert len(looks) - before < 20


def test_fresh_records_are_sealed_under_a_quick_graph_which_a_join_replaces(tmp_path: Path) -> None:
    how = policy(seal_rows=100, quick_rows=100, graph_rows=1_000_000, dead_share=1.0)
    with filled(tmp_path / "c", 0, how) as collection:
        add(collection, 100, batch=100)
        collection.settle()
        quick = parts_of(collection)

        assert [part.source.head.graph.quick for part in quick] == [True]
        assert sizes(to_join(quick, UpkeepPolicy(graph_rows=100))) == [100]
    with Collection.open(tmp_path / "c", policy=policy(graph_rows=100)) as collection:
        collection.settle()

        assert [part.source.head.graph.quick for part in parts_of(collection)] == [False]


def test_while_records_come_in_only_what_waits_for_a_graph_is_joined(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 0, NEVER) as collection:
        add(collection, 150, batch=50)
        collection.settle()
        parts = parts_of(collection)

        assert to_join_quickly(parts[:1], UpkeepPolicy(graph_rows=50)) == []
        assert to_join_quickly(parts, UpkeepPolicy(graph_rows=151)) == []
        assert sizes(to_join_quickly(parts, UpkeepPolicy(graph_rows=150))) == [50, 50, 50]
        assert sizes(to_join_quickly(parts, UpkeepPolicy(graph_rows=100, most_rows=1000))) == [50, 50, 50]

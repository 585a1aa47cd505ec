"""Work in Python gives way to searches that are under way, and only then."""

from __future__ import annotations

import time

from paceline.vectors import courtesy
from paceline.vectors.courtesy import courteously, give_way, going_first


def test_nothing_is_slept_without_a_search() -> None:
    started_at = time.perf_counter()
    for _ in range(1000):
        give_way()

    assert time.perf_counter() - started_at < 1000 * courtesy._MOMENT_S


def test_a_moment_is_slept_beside_a_search() -> None:
    with going_first(), going_first():
        started_at = time.perf_counter()
        give_way()

        assert time.perf_counter() - started_at >= courtesy._MOMENT_S
    assert courtesy._under_way == []


def test_items_come_in_order_and_all_of_them() -> None:
    items = list(range(1000))

    assert list(courteously(items)) == items
    assert list(courteously([])) == []

"""A move and a write of the same slot take turns; everything else goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from paceline.vectors.slot_locks import SlotLocks


def started(work: Callable[[], None]) -> threading.Thread:
    """A thread that runs `work`."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_writes_of_a_slot_do_not_wait_for_each_other() -> None:
    """Nor for a move of another slot."""
    locks = SlotLocks()

    with locks.moving(9), locks.writing({1, 2}), locks.writing({2, 3}):
        assert locks._writes == {1: 1, 2: 2, 3: 1}
    assert not locks._writes


def test_a_move_waits_for_writes_that_have_its_slot() -> None:
    """And holds off those that come."""
    locks, order = SlotLocks(), []
    wrote, may_end = threading.Event(), threading.Event()

    def write_first() -> None:
        with locks.writing({1}):
            wrote.set()
            may_end.wait(30)
            order.append("first write")

    def move() -> None:
        with locks.moving(1):
            order.append("move")

    first = started(write_first)
    wrote.wait(30)
    moving = started(move)
    with locks._changed:
        locks._changed.wait_for(lambda: 1 in locks._moving or order, 0.01)
    may_end.set()
    first.join(30)
    moving.join(30)
    with locks.writing({1}):
        order.append("last write")

    assert order == ["first write", "move", "last write"]


def test_a_write_waits_while_its_slot_moves() -> None:
    """Until the move is over."""
    locks, order = SlotLocks(), []

    def write() -> None:
        with locks.writing({1, 5}):
            order.append("write")

    with locks.moving(1):
        writing = started(write)
        with locks.writing({5}):  # that slot is free
            order.append("other")
        order.append("moved")
    writing.join(30)

    assert order == ["other", "moved", "write"]


def test_whoever_holds_all_slots_is_alone() -> None:
    """A write and a move that come meanwhile are after it, one after another."""
    locks, order = SlotLocks(), []

    def write() -> None:
        with locks.writing({7}):
            order.append("write")

    def move() -> None:
        with locks.moving(8):
            order.append("move")

    with locks.holding(range(10)):
        threads = [started(write), started(move)]
        order.append("alone")
    for thread in threads:
        thread.join(30)

    assert order[0] == "alone"
    assert sorted(order[1:]) == ["move", "write"]
    assert not locks._moving


def test_only_searches_that_had_begun_are_waited_for() -> None:
    """One that begins meanwhile sees the new order of things and may last."""
    locks = SlotLocks()
    begun, may_end, over = threading.Event(), threading.Event(), threading.Event()

    def search() -> None:
        with locks.searching():
            begun.set()
            may_end.wait(30)

    def wait() -> None:
        locks.wait_for_searches()
        over.set()

    searching = started(search)
    begun.wait(30)
    waiting = started(wait)
    with locks._changed:
        locks._changed.wait_for(lambda: locks._era == 1, 0.01)
    assert not over.is_set()
    with locks.searching():
        may_end.set()
        searching.join(30)
        waiting.join(30)
        assert over.is_set()


def test_without_searches_there_is_nothing_to_wait_for() -> None:
    """Nor is anything remembered of those that are over."""
    locks = SlotLocks()
    with locks.searching():
        pass
    locks.wait_for_searches()

    assert not locks._searches

"""The ring of the last batches."""

from __future__ import annotations

from paceline.flow.batch_ring import BatchRing
from paceline.flow.batcher import BatchRecord


def batch(number):
    return BatchRecord(
        rows=number, cost=8, tokens=5, wait_s=0.0, run_s=0.1, started_at=float(number), length=8, busy=1
    )


def numbers(ring, since):
    following, records = ring.since(since)
    return following, [record.rows for record in records]


def test_who_comes_back_gets_what_is_new():
    ring = BatchRing(size=4)
    assert numbers(ring, 0) == (0, [])
    for number in range(3):
        ring.add(batch(number))

    assert numbers(ring, 0) == (3, [0, 1, 2])
    assert numbers(ring, 2) == (3, [2])
    assert numbers(ring, 3) == (3, [])


def test_who_comes_late_gets_what_is_left():
    ring = BatchRing(size=4)
    for number in range(10):
        ring.add(batch(number))

    assert numbers(ring, 0) == (10, [6, 7, 8, 9])
    assert numbers(ring, 8) == (10, [8, 9])


def test_a_number_from_before_a_restart_counts_as_the_first():
    ring = BatchRing(size=4)
    ring.add(batch(0))

    assert numbers(ring, 500) == (1, [0])

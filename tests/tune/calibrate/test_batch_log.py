"""What a server tells of its batches, as arrays."""

from __future__ import annotations

import numpy as np

from paceline.tune.calibrate.batch_log import COLUMNS, BatchLog

TOLD = [
    (10.0, 4, 32, 100, 1, 0.002, 0.005),
    (10.1, 1, 8, 8, 2, 0.0, 0.0),
    (10.2, 2, 16, 30, 2, 0.001, 0.003),
]
"""started_at, rows, length, tokens, busy, wait_s, run_s; the second one has not ended."""


def test_takes_what_the_fit_needs_of_batches_that_ended():
    log = BatchLog.of(TOLD)

    assert len(log) == 2
    assert (log.rows.tolist(), log.length.tolist()) == ([4, 2], [32, 16])
    assert (log.busy.tolist(), log.run_s.tolist()) == ([1, 2], [0.005, 0.003])


def test_columns_are_in_the_order_of_the_server():
    """Guards the numbers of columns above."""
    assert [COLUMNS.index(name) for name in ("rows", "length", "busy", "run_s")] == [1, 2, 4, 6]


def test_nothing_told_is_an_empty_log():
    assert len(BatchLog.of([])) == 0
    assert len(BatchLog.of([]).joined(BatchLog.of(TOLD))) == 2


def test_logs_are_joined_in_order_and_taken_by_position():
    log = BatchLog.of(TOLD).joined(BatchLog.of([(11.0, 7, 64, 400, 1, 0.0, 0.009)]))

    assert log.rows.tolist() == [4, 2, 7]
    assert log.taken(np.array([2, 0])).run_s.tolist() == [0.009, 0.005]

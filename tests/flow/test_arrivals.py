from math import inf

import pytest

from paceline.flow.arrivals import EDGES_S, Arrivals


def test_without_company_nobody_is_expected():
    arrivals = Arrivals()
    for i in range(100):
        arrivals.first(i * 0.01)
        arrivals.batch_ended(i * 0.01 + 0.005, empty=True)

    assert arrivals.gap_s(1.0)[0] == inf


def test_a_steady_stream_has_its_gap_at_any_time_after_a_batch():
    arrivals = Arrivals()
    arrivals.first(0.0)
    for i in range(1, 2000):
        arrivals.joined(i * 0.001 + 0.0005)
        if i % 10 == 0:
            arrivals.batch_ended(i * 0.001 + 0.00075, empty=False)

    ended_at = arrivals._ended_at
    for tau in (0.0022, 0.005):
        assert arrivals.gap_s(ended_at + tau)[0] == pytest.approx(0.001, rel=0.3)


def test_clients_that_ask_again_at_once_come_right_after_a_batch():
    arrivals = Arrivals()
    arrivals.first(0.0)
    for i in range(200):
        arrivals.batch_ended(i * 0.01, empty=False)
        for _ in range(5):
            arrivals.joined(i * 0.01 + 0.0001)
    arrivals.batch_ended(2.0, empty=False)

    gap_s, changes_at = arrivals.gap_s(2.0)
    assert gap_s == pytest.approx(EDGES_S[0] / 5, rel=0.05)
    assert changes_at == pytest.approx(2.0 + EDGES_S[0])
    assert arrivals.gap_s(2.001)[0] == inf


def test_time_without_any_job_does_not_count():
    arrivals = Arrivals()
    for i in range(50):
        arrivals.first(i * 10.0)
        arrivals.joined(i * 10.0 + 0.001)
        arrivals.batch_ended(i * 10.0 + 0.01, empty=True)

    assert arrivals.gap_s(1000.0)[0] == pytest.approx(0.01, rel=0.05)
    assert arrivals.pause_s(1000.0) == pytest.approx(1000.0 - 490.01)

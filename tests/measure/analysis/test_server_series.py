"""What the server's samples say of the whole run."""

from __future__ import annotations

import pytest

from paceline.measure.analysis.server_series import server_series, server_values
from paceline.measure.records.record import ServerSample


def sample(at_s, **told):
    return ServerSample(at_s=at_s, source="process 7", **told)


def test_values_are_of_the_measured_part():
    samples = [
        sample(float(at), cpu_percent=40.0 + at, memory_bytes=1e9 + at * 1e6, queue_depth=float(at))
        for at in range(21)
    ]
    values = server_values(server_series(samples), 10.0, 20.0)

    assert values["cpu_percent"].value == pytest.approx(55)
    assert values["memory_gb"].value == pytest.approx(1.02)
    assert values["queue_depth"].value == pytest.approx(19.5)
    assert "hit_percent" not in values


def test_hits_are_those_of_the_run_not_of_the_servers_life():
    samples = [sample(0.0, hits=1_000.0, misses=0.0), sample(1.0), sample(2.0, hits=1_030.0, misses=70.0)]

    assert server_series(samples).hit_percent == pytest.approx(30)


@pytest.mark.parametrize(
    "counts",
    [[(10.0, 10.0)], [(10.0, 10.0), (10.0, 10.0)], [(10.0, 10.0), (3.0, 2.0)]],
    ids=["one sample", "nobody asked", "restarted"],
)
def test_hits_that_cannot_be_told_are_unknown(counts):
    samples = [sample(float(at), hits=hits, misses=misses) for at, (hits, misses) in enumerate(counts)]

    assert server_series(samples).hit_percent is None


def test_what_the_answers_say_themselves_comes_first():
    samples = [sample(0.0, hits=0.0, misses=0.0), sample(1.0, hits=1.0, misses=1.0)]

    assert server_series(samples, 80.0).hit_percent == 80.0


def test_a_server_that_said_nothing_is_left_out():
    assert server_series([]) is None
    assert server_series([sample(0.0), sample(1.0)]) is None

"""How much a real server holds. It answers one request at a time, so its capacity is known."""

from __future__ import annotations

import pytest
from driving import closed_plan, open_plan
from servers import serving

from paceline.base.errors import ConfigError
from paceline.measure.saturation import find_capacity


@pytest.mark.slow
def test_the_capacity_lies_where_the_latency_crosses_the_limit(tmp_path):
    with serving("ok", serial_ms=5) as server:
        plan = open_plan(
            server.url,
            rate=20,
            seconds=4,
            process="poisson",
            thresholds=("p(95)<60|600",),
            timeout_s=5,
            lag_limit_ms=1_000,
        )
        report = find_capacity(plan, records=tmp_path / "found.records")

    # M/D/1 with 5 ms a request: p95 of 60 ms lies at a utilisation of about 0.87 (174/s).
    capacity = report.capacity
    assert capacity is not None
    assert capacity.objective == "p95 <= 60 ms"
    assert 130 <= capacity.rate_per_s.value <= 200
    assert capacity.rate_per_s.low <= capacity.rate_per_s.value <= capacity.rate_per_s.high
    assert (tmp_path / "found.records").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["found.records"]


@pytest.mark.slow
def test_a_server_that_never_holds_the_objective_is_said(tmp_path):
    with serving("ok", delay_ms=50) as server:
        # What else the machine does while tests run is not what is asked here.
        plan = open_plan(server.url, rate=16, seconds=1.0, thresholds=("p(95)<10|20",), lag_limit_ms=1_000)
        report = find_capacity(plan, records=tmp_path / "found.records")

    assert report.capacity.rate_per_s.value is None
    assert "did not hold" in report.capacity.rate_per_s.reason
    assert not any(probe.held for probe in report.capacity.probes)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (closed_plan("http://127.0.0.1:9/", thresholds=("p(95)<10",)), "one constant rate"),
        (open_plan("http://127.0.0.1:9/", thresholds=("errors<1%",)), "needs a latency percentile"),
    ],
)
def test_what_cannot_be_searched_is_refused(tmp_path, plan, words):
    with pytest.raises(ConfigError, match=words):
        find_capacity(plan, records=tmp_path / "found.records")

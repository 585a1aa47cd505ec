"""State of the server and its parts."""

from __future__ import annotations

import pytest

from paceline import __version__
from paceline.flow.limiter import LimitPolicy


def test_the_report_holds_every_part(build):
    house = build(
        limits=LimitPolicy(rpm=5),
        parts={"redis": lambda: {"status": "ok", "url": "unix"}},
    )
    house.app.entrance.started = True

    report = house.call("GET", "/health").json()

    assert report.pop("uptime_s") >= 0
    assert report == {
        "status": "ok",
        "version": __version__,
        "engines": {"tiny": {"status": "ok", "breaker": "closed"}},
        "redis": {"status": "ok", "url": "unix"},
        "limits": {"status": "ok", "shared": False},
    }


@pytest.mark.parametrize(
    ("started", "draining", "engine", "status", "ready"),
    [
        (True, False, "ok", "ok", 200),
        (True, False, "failing", "degraded", 200),
        (True, False, "starting", "starting", 503),
        (False, False, "ok", "starting", 503),
        (True, True, "ok", "draining", 503),
    ],
)
def test_one_word_for_the_whole(house, started, draining, engine, status, ready):
    house.app.entrance.started, house.app.entrance.draining = started, draining
    house.embedder.status = engine

    assert house.call("GET", "/health").json()["status"] == status
    assert house.call("GET", "/health/ready").status == ready
    assert house.call("GET", "/health/live").status == 200


def test_a_part_that_ails_degrades_the_whole_but_not_readiness(build):
    house = build(parts={"redis": lambda: {"status": "failing"}})
    house.app.entrance.started = True

    assert house.call("GET", "/health").json()["status"] == "degraded"
    assert house.call("GET", "/health/ready").status == 200

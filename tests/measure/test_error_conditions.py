"""What a server must refuse, tried on servers that do and servers that do not."""

from __future__ import annotations

import pytest
from servers import serving

from paceline.base.errors import Unreachable
from paceline.measure.error_conditions import try_conditions
from paceline.measure.plan import ClosedLoop, Payload, Plan, Stage, Target


def tried(url, **changes):
    plan = Plan(Target(url), ClosedLoop((Stage(1, 1),)), timeout_s=5, **changes)
    report = try_conditions(plan)
    return report.state, {found.name: (found.state, found.status) for found in report.conditions}


def test_a_server_that_accepts_everything_is_warned_about():
    with serving("ok") as server:
        state, found = tried(server.url, payload=Payload(task="embeddings", model="m"))

    assert state == "warning"
    assert found["wrong path"] == ("warning", 200)
    assert found["broken JSON"] == ("warning", 200)
    assert found["a good request afterwards"] == ("ok", 200)


def test_plain_http_gets_no_bodies():
    with serving("ok") as server:
        _, found = tried(server.url)
        seen = server.seen()

    assert list(found) == [
        "wrong path",
        "wrong method",
        "not HTTP",
        "20 callers hang up",
        "a good request afterwards",
    ]
    assert {request["method"] for request in seen.first} == {"GET", "TRACE"}


def test_a_server_that_fails_instead_of_refusing_is_critical():
    with serving("status", status=500) as server:
        state, found = tried(server.url)

    assert state == "critical"
    assert found["wrong path"] == ("critical", 500)
    assert found["a good request afterwards"] == ("critical", 500)


def test_a_refusal_is_good():
    with serving("alternating", status=404) as server:
        _, found = tried(server.url)

    # Every second answer is a 404: the good request ahead has none, the wrong path has one.
    assert (found["wrong path"], found["wrong method"]) == (("ok", 404), ("warning", 200))


def test_nobody_there_is_said_at_once():
    with pytest.raises(Unreachable):
        tried("http://127.0.0.1:1")

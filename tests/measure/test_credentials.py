"""Secrets are sent and not written down."""

import pytest

from paceline.measure.credentials import HIDDEN, concealed, is_secret
from paceline.measure.plan import ClosedLoop, Plan, Stage, Target


@pytest.mark.parametrize(
    "name", ["Authorization", "authorization", "Cookie", "X-API-Key", "api_key", "X-Auth-Token"]
)
def test_headers_that_let_somebody_in_are_secret(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["Accept", "Content-Type", "X-Request-Id", "Traceparent"])
def test_others_are_not(name):
    assert not is_secret(name)


def test_a_plan_is_written_down_without_them():
    target = Target("http://a", headers={"Authorization": "Bearer hush", "Accept": "*/*"})
    plan = Plan(target, ClosedLoop((Stage(1, 1),)))

    assert concealed(plan).target.headers == {"Authorization": HIDDEN, "Accept": "*/*"}
    assert plan.target.headers["Authorization"] == "Bearer hush"

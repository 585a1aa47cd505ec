"""A tune joined together."""

from __future__ import annotations

import pytest

from paceline.app.tuning import session
from paceline.base.errors import ConfigError
from paceline.measure.slo import parse
from paceline.tune.goal import Goal

ASKED = session.Asked(goal=Goal(parse(["p(95)<100"])), budget_s=60.0, max_runs=7, candidates=2, margin=0.02)


def test_without_the_compiler_the_way_out_is_said(monkeypatch, admin, tuned_server, plan_for):
    monkeypatch.setattr(session, "COMPILES", False)
    tune = session.running(plan_for(tuned_server.url), "made up", ASKED, admin, lambda: False)

    with pytest.raises(ConfigError, match=r"pip install 'paceline\[tune\]'"), tune:
        pass


def test_a_running_server_is_simulated_with_its_layout_and_its_knobs(admin, tuned_server, plan_for):
    with session.running(plan_for(tuned_server.url), "made up", ASKED, admin, lambda: False) as (
        bench,
        order,
    ):
        baseline = order.space.full({})

        assert order.station is not None
        assert baseline["embed.batch.max_cost"] == order.station.batch.max_cost
        assert (order.service, order.reach, bench.requests > 60) == ("embed", "admin", True)

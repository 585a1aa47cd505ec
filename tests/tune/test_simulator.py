"""A calibrated server that answers what if."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from simulated_bench import ADAPTIVE, ERRORS, P95, QUICK, SIZE, SLOW, TRUTH, WAIT, poisson

from paceline.base.slo import Objective
from paceline.tune.calibrate.posterior import Posterior
from paceline.tune.goal import Goal
from paceline.tune.simulation.replay import replay
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulator import Expected, Simulator, interval

LOAD = poisson(120.0, 300)
GOAL = Goal((P95, ERRORS))
SLOWER = ServiceModel(**{name: 1.2 * getattr(TRUTH, name) for name in TRUTH.__struct_fields__})


def simulator(workload=LOAD, station=SLOW, *, particles=(TRUTH,), error=0.1, bias=0.0):
    return Simulator(workload, station, Posterior(tuple(particles), error, bias), "embed")


@pytest.mark.parametrize(
    ("name", "modelled"),
    [
        (SIZE, True),
        (WAIT, True),
        (ADAPTIVE, True),
        ("embed.gate.slo_ms", True),
        ("cache.l1.max_bytes", True),
        ("cache.l1.eviction", True),
        ("embed.precision", False),
        ("embed.batch.bucket", False),
        ("generate.batch.max_size", False),
        ("workers", False),
    ],
)
def test_knows_what_it_simulates(name, modelled):
    """Knobs of the service under load and of the cache; a name that only ends like one is none."""
    assert simulator().models(name) is modelled


class TestAStation:
    def test_is_the_baseline_with_the_changes(self):
        made = simulator().station({SIZE: 4, "cache.l1.eviction": "lru", "embed.gate.slo_ms": 300.0})

        assert (made.batch.max_size, made.batch.max_wait_ms) == (4, 20.0)
        assert (made.cache.eviction, made.gate.slo_ms) == ("lru", 300.0)

    def test_believes_what_was_fitted(self):
        """A server that has been up for a while knows how long its batches run."""
        assert simulator().station({}).prior == (TRUTH.a, TRUTH.b, TRUTH.c, TRUTH.d)

    def test_is_left_alone_by_what_is_not_simulated(self):
        made = simulator()

        assert made.station({"embed.precision": "int8"}) == made.station({})

    def test_without_a_cache_gets_none(self):
        cacheless = QUICK.__class__(QUICK.batch)

        assert simulator(station=cacheless).station({"cache.l1.eviction": "lru"}).cache is None


class TestExpectations:
    def test_are_what_a_replay_shows(self):
        """With one particle there is nothing to average."""
        one = simulator().expect([{SIZE: 1}], GOAL)[0]
        shown = replay(LOAD, simulator().station({SIZE: 1}), TRUTH)

        assert one.values["p95_ms"] == pytest.approx(1e3 * shown.p(0.95))
        assert one.values["mean_ms"] == pytest.approx(1e3 * shown.mean_s)
        assert one.values["rate_per_s"] == pytest.approx(LOAD.rate)
        assert one.engine_ms == pytest.approx(1e3 * shown.engine_s / 300)
        assert (one.violation, one.score) == (0.0, one.values["p95_ms"])
        assert one.p95_log == (pytest.approx(log(one.values["p95_ms"])), pytest.approx(0.1))

    def test_are_averaged_over_the_particles_and_as_unsure_as_these_differ(self):
        sure, unsure = (
            simulator(particles=particles).expect([{}], GOAL)[0] for particles in ([TRUTH], [TRUTH, SLOWER])
        )

        assert sure.values["p95_ms"] < unsure.values["p95_ms"]
        assert sure.p95_log[1] < unsure.p95_log[1]

    def test_are_moved_by_the_bias_that_was_seen(self):
        plain, moved = (simulator(bias=bias).expect([{}], GOAL)[0] for bias in (0.0, 0.2))

        assert moved.values["p95_ms"] == pytest.approx(exp(0.2) * plain.values["p95_ms"])
        assert moved.values["error_percent"] == plain.values["error_percent"]

    def test_tell_how_far_an_objective_is_missed(self):
        """As `Goal.violation` has it: a share of the target, of the worst one."""
        strict = Goal((Objective("p95_ms", "p95 latency", 10, 20, "ms"), ERRORS))
        one = simulator().expect([{}], strict)[0]

        assert one.violation == pytest.approx(one.values["p95_ms"] / 10 - 1)
        assert one.violation == pytest.approx(strict.violation(one.values))

    def test_of_a_gate_that_refuses_count_as_errors(self):
        refusing = simulator(poisson(900.0, 400)).expect([{"embed.gate.slo_ms": 5.0}], GOAL)[0]

        assert refusing.values["error_percent"] > 10
        assert refusing.violation > 0
        assert refusing.values["rate_per_s"] < 850

    @pytest.mark.parametrize(
        ("aim", "score"),
        [
            ("latency", lambda one: one.values["p95_ms"]),
            ("cost", lambda one: one.engine_ms),
            ("throughput", lambda one: -one.values["rate_per_s"]),
        ],
    )
    def test_are_scored_by_the_aim(self, aim, score):
        one = simulator().expect([{}], Goal((P95, ERRORS), aim))[0]

        assert one.score == score(one)

    def test_of_a_faster_trace_have_its_rate(self):
        one = simulator().expect([{SIZE: 4}], GOAL, speed=2.0)[0]

        assert one.values["rate_per_s"] == pytest.approx(2 * LOAD.rate)

    def test_know_every_percentile_of_the_goal(self):
        goal = Goal(
            (Objective("p99_ms", "p99 latency", 50, 90, "ms"), Objective("max_ms", "max", 90, 99, "ms"))
        )
        values = simulator().expect([{}], goal)[0].values

        assert values["p50_ms"] < values["p95_ms"] < values["p99_ms"] < values["max_ms"]

    def test_are_counted(self):
        """For the report: settings times particles."""
        one = simulator(particles=[TRUTH, SLOWER])
        one.expect([{}, {SIZE: 1}, {SIZE: 2}], GOAL)

        assert one.simulated == 6
        assert one.seconds > 0


class TestSaturation:
    def test_is_a_rate_beyond_what_the_setting_can_do(self):
        """One text a batch is done at 400 a second at most; a full batch does more."""
        crowded = simulator(poisson(420.0, 400))
        alone, together = crowded.utilisation([{SIZE: 1}, {SIZE: 32}])

        assert alone > 0.9 > together
        assert crowded.utilisation([{SIZE: 1}], speed=2.0)[0] == pytest.approx(2 * alone)

    def test_has_no_number(self):
        crowded = simulator(poisson(420.0, 400))
        alone, together = crowded.predict(crowded.expect([{SIZE: 1}, {SIZE: 32}], GOAL))

        assert (alone.p95_ms.value, alone.p95_ms.low, alone.p95_ms.reason) == (None, None, "saturated")
        assert not alone.meets_slo
        assert together.p95_ms.low < together.p95_ms.value < together.p95_ms.high
        assert together.meets_slo


class TestTheInterval:
    ONE = Expected({}, {}, 0.0, 1.0, (log(20.0), 0.1), 1.0)

    def test_is_of_a_run_and_not_of_the_mean(self):
        """20 ms with 10 % either way: two standard deviations."""
        found = interval(self.ONE, 0.5)

        assert (found.value, found.reason) == (pytest.approx(20.0), None)
        assert (found.low, found.high) == (pytest.approx(20 * exp(-0.196)), pytest.approx(20 * exp(0.196)))

    @pytest.mark.parametrize(("utilisation", "shown"), [(0.89, True), (0.9, False), (3.0, False)])
    def test_ends_where_the_queue_begins(self, utilisation, shown):
        assert (interval(self.ONE, utilisation).value is not None) is shown


def test_a_particle_cannot_spoil_the_others():
    """A setting that answers nothing under a model is bad, not unknown: the figures stay numbers."""
    choked = simulator(poisson(500.0, 300)).expect([{"embed.gate.max_queue_tokens": 1}], GOAL)[0]

    assert all(np.isfinite(value) for value in choked.values.values())
    assert choked.violation > 0

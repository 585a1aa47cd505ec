"""Which settings are worth a live run."""

from __future__ import annotations

from simulated_bench import ADAPTIVE, ERRORS, KNOBS, P95, QUICK, SIZE, SLOW, TRUTH, WAIT, knobs, poisson

from paceline.base.slo import Objective
from paceline.flow.cache.policy import L1Policy
from paceline.tune import search as module
from paceline.tune.calibrate.posterior import Posterior
from paceline.tune.goal import Goal
from paceline.tune.knob import Knob
from paceline.tune.search import Search
from paceline.tune.setting import key
from paceline.tune.simulator import Simulator
from paceline.tune.space import Space

LOAD = poisson(120.0, 300)
GOAL = Goal((P95, ERRORS))
EVICTION = Knob("cache.l1.eviction", "cost", ("cost", "lru"))
THREADS = Knob("embed.threads", 1, (1, 2, 4))


def search(values=KNOBS, more=(), *, goal=GOAL, workload=LOAD, station=SLOW):
    simulator = Simulator(workload, station, Posterior((TRUTH,) * 2, 0.1, 0.0), "embed")
    return Search(simulator, Space([*knobs(station, values), *more]), goal), simulator


def one_by_one(simulator, space_values, goal=GOAL):
    """What each setting shows when nothing is left out."""
    settings = list(Space(knobs(SLOW, space_values)).settings())
    return sorted(simulator.expect(settings, goal), key=lambda one: (one.violation, one.score))


def test_the_best_of_a_small_space_is_found():
    """By looking at each of them."""
    found, simulator = search()
    best = one_by_one(simulator, KNOBS)[0]

    assert found.run()[0].score == best.score
    assert len(found.ranked()) == 24


def test_the_baseline_is_always_among_the_results():
    found, _ = search()

    assert {} in [one.setting for one in found.run()]


def test_settings_that_hold_the_objectives_come_first():
    """However good the aim of the others is."""
    cheap = Goal((Objective("p95_ms", "p95 latency", 10, 20, "ms"), ERRORS), "cost")
    found, _ = search(goal=cheap)
    violations = [one.violation for one in found.run()]

    assert violations == sorted(violations)
    assert violations[0] == 0.0 < violations[-1]


class TestCandidates:
    def test_differ_from_each_other_and_from_the_baseline(self):
        """In what they do: each changes some figure by more than a percent."""
        found, _ = search()
        found.run()
        chosen = found.candidates(4)
        known = {key(one.setting): one for one in found.ranked()}
        shown = [known[key(setting)] for setting in [*chosen, {}]]

        assert len(chosen) == 4
        for at, one in enumerate(shown):
            for other in shown[:at]:
                assert (
                    any(
                        abs(one.values[name] - other.values[name]) > 0.01 * one.values[name]
                        for name in one.values
                    )
                    or abs(one.engine_ms - other.engine_ms) > 0.01 * one.engine_ms
                )

    def test_change_no_more_than_they_need(self):
        """A cache that is never full evicts nothing, and what is not simulated does nothing."""
        found, _ = search({SIZE: (1, 32)}, [EVICTION, THREADS])
        found.run()

        assert found.candidates(4) == [{SIZE: 1}]

    def test_are_none_where_nothing_matters(self):
        found, _ = search({SIZE: (32, 64)}, workload=poisson(5.0, 60), station=QUICK)
        found.run()

        assert found.candidates(4) == []

    def test_are_no_saturated_ones_while_there_are_others(self):
        found, simulator = search({SIZE: (1, 4, 16), WAIT: (0.0, 2.0)}, workload=poisson(420.0, 400))
        found.run()

        assert max(simulator.utilisation(found.candidates(4))) < 0.9


VALUES = {WAIT: (0.0, 1.0, 2.0, 5.0, 10.0, 20.0), SIZE: (1, 2, 4, 8, 16, 32), ADAPTIVE: (True, False)}


class TestALargeSpace:
    def test_is_halved_and_the_best_is_still_found(self, monkeypatch):
        """72 settings, of which few reach the whole trace."""
        monkeypatch.setattr(module, "LEAST_LEFT", 8)
        found, simulator = search(VALUES)
        best = one_by_one(simulator, VALUES)[0]

        assert found.run()[0].score <= 1.02 * best.score
        assert len(found.ranked()) < 36

    def test_beyond_count_is_searched_group_by_group(self, monkeypatch):
        """The batch with the best cache, the cache with the best batch, until nothing changes."""
        monkeypatch.setattr(module, "WHOLE", 20)
        repeated = poisson(150.0, 300)
        repeated = type(repeated)(
            repeated.arrive_s, repeated.length, repeated.key % 40, repeated.request, repeated.duration_s
        )
        small = Knob("cache.l1.max_bytes", 4096, (4096, 1 << 20))
        station = SLOW.__class__(SLOW.batch, cache=L1Policy(max_bytes=4096))
        found, _ = search({SIZE: (1, 8, 32), WAIT: (0.0, 20.0), ADAPTIVE: (True, False)}, [small, EVICTION], workload=repeated, station=station)  # fmt: skip
        best = found.run()[0].setting

        assert best["cache.l1.max_bytes"] == 1 << 20
        assert best.keys() & {SIZE, WAIT, ADAPTIVE}
        assert len(found.ranked()) < 48


class TestThroughput:
    GOAL = Goal((P95, ERRORS), "throughput")

    def test_the_trace_is_replayed_as_fast_as_the_best_can_hold(self):
        """A little faster and no setting holds the objectives."""
        found, simulator = search(goal=self.GOAL)
        speed = found.most_speed()
        settings = list(Space(knobs(SLOW, KNOBS)).settings())

        def held(speed):
            return any(
                one.violation == 0.0 for one in simulator.expect(settings, self.GOAL, speed=speed, share=0.5)
            )

        assert speed > 2.0
        assert held(speed)
        assert not held(1.1 * speed)

    def test_is_not_slowed_down_where_nothing_holds(self):
        strict = Goal((Objective("p95_ms", "p95 latency", 0.1, 1, "ms"),), "throughput")
        found, _ = search(goal=strict)

        assert found.most_speed() == 1.0

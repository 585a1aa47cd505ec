"""Costs besides the engine's, from live runs of a server whose costs are known."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_bench import SLOW, TRUTH, SimulatedBench, poisson, turned

from paceline.tune.calibrate import posterior as module
from paceline.tune.calibrate.batch_log import BatchLog
from paceline.tune.calibrate.posterior import PARTICLES, LiveEvidence, posterior
from paceline.tune.calibrate.service_fit import bootstrap
from paceline.tune.simulation.replay import replay
from paceline.tune.simulation.sweep import sweep

LOAD = poisson(150.0, 400)
SEEN = [{}, {"embed.batch.adaptive": True}, {"embed.batch.max_size": 1}]
UNSEEN = [
    {"embed.batch.max_wait_ms": 5.0},
    {"embed.batch.max_wait_ms": 2.0, "embed.batch.max_size": 4},
    {"embed.batch.max_wait_ms": 0.0},
    {"embed.batch.max_size": 2},
    {"embed.batch.adaptive": True, "embed.batch.max_cost": 64},
]


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch):
    monkeypatch.setattr(module, "DRAWS", 96)


def calibrated(truth=TRUTH, *, seed=1):
    """From three runs, 8 % apart by noise, and probes."""
    bench = SimulatedBench(workload=LOAD, truth=truth, seed=seed)
    for _ in range(4):
        for rows in (1, 2, 4, 8, 16, 32):
            for length in (8, 24, 64):
                bench.probe(rows, length)
    log = bench.take_batches()
    evidence = []
    for setting in SEEN:
        run = bench.run(setting)
        evidence.append(LiveEvidence(turned(SLOW, setting), run.observation, run.batches))
        log = log.joined(run.batches)
    return posterior(LOAD, evidence, bootstrap(log, 16, seed=seed), seed=seed)


def predicted_ms(belief, settings):
    """p95, as the simulator has it."""
    found = sweep(LOAD, [turned(SLOW, setting) for setting in settings], belief.particles, drain=False)
    return np.exp(np.log(found.p95_s).mean(axis=1) + belief.bias) * 1e3


def true_ms(truth, settings):
    return np.array(
        [replay(LOAD, turned(SLOW, setting), truth, seed=99).p(0.95) * 1e3 for setting in settings]
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_predicts_settings_that_were_never_run(seed):
    """p95 within 15 % for the middle one of five, in an order that is right."""
    belief, truth = calibrated(seed=seed), true_ms(TRUTH, UNSEEN)
    predicted = predicted_ms(belief, UNSEEN)

    assert np.median(np.abs(predicted / truth - 1.0)) < 0.15
    assert np.argsort(predicted).tolist()[-2:] == np.argsort(truth).tolist()[-2:]
    assert np.all(np.abs(np.log(predicted / truth)) < 2.0 * belief.error + 0.1)


def test_a_server_with_slow_ways_is_told_from_one_with_quick_ways():
    """Ten times the event loop's and the network's share shows in the particles, and in the predictions."""
    slow = type(TRUTH)(**{name: getattr(TRUTH, name) for name in TRUTH.__struct_fields__} | {"enter_s": 2e-3, "fixed_s": 2e-3})  # fmt: skip
    quick_ms, slow_ms = (predicted_ms(calibrated(truth), UNSEEN) for truth in (TRUTH, slow))

    assert np.median(slow_ms / quick_ms) == pytest.approx(
        np.median(true_ms(slow, UNSEEN) / true_ms(TRUTH, UNSEEN)), rel=0.25
    )
    costs = [
        np.mean([one.enter_s + one.leave_s + one.fixed_s for one in calibrated(truth).particles])
        for truth in (TRUTH, slow)
    ]
    assert costs[1] > 2.0 * costs[0]


def test_particles_are_service_models_and_as_many_as_promised():
    belief = calibrated()

    assert len(belief.particles) == PARTICLES
    assert all(one.a + one.b + one.c > 0 and one.fixed_s > 0 for one in belief.particles)
    assert 0.03 < belief.error < 0.5
    assert abs(belief.bias) < 0.3


def test_the_same_seed_believes_the_same():
    assert calibrated(seed=5) == calibrated(seed=5)


def test_runs_without_batches_are_evidence_all_the_same():
    """A server that forgot its batches has latencies still."""
    bench = SimulatedBench(workload=LOAD)
    for _ in range(10):
        for rows in (1, 4, 16):
            bench.probe(rows, 32)
    fits = bootstrap(bench.take_batches(), 8, seed=1)
    run = bench.run({})
    belief = posterior(LOAD, [LiveEvidence(SLOW, run.observation, BatchLog.of([]))], fits, seed=1)

    assert predicted_ms(belief, [{}])[0] == pytest.approx(run.observation.p(0.95), rel=0.25)

"""Calibrate: what the server's batches take, then what its requests wait for besides, from three live runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from paceline.base.errors import TrialFailed
from paceline.tune.bench import Bench, LiveRun
from paceline.tune.calibrate.batch_log import BatchLog
from paceline.tune.calibrate.posterior import LiveEvidence, Posterior, posterior
from paceline.tune.calibrate.service_fit import ServiceFit, bootstrap
from paceline.tune.journal import Journal
from paceline.tune.order import Order
from paceline.tune.report import Calibration, Coefficient
from paceline.tune.setting import Setting, key
from paceline.tune.simulation.service_model import ServiceModel
from paceline.tune.simulation.station import Station
from paceline.tune.simulator import Expected, Simulator
from paceline.tune.watcher import Watcher
from paceline.tune.workload import Workload

DRAWS: Final = 32
"""Bootstrap draws of the service times."""
PROBE_ROWS: Final = (1, 2, 4, 8, 16, 32)
PROBE_S: Final = 6.0
PROBE_ROUNDS: Final = 3
LENGTH_QUANTILES: Final = (0.1, 0.5, 0.9, 0.99)
CORNERS: Final = 2
"""Live runs besides the baseline's."""
SAFE: Final = 0.7
"""Utilisation up to which a corner is run: beyond it a run shows the queue, not the costs."""

_MEANINGS: Final = {
    "a": ("ms", 1e3, "per batch"),
    "b": ("ms", 1e3, "per row of a batch"),
    "c": ("us", 1e6, "per padded token"),
    "d": ("ns", 1e9, "per padded token and token of length"),
    "contention": ("%", 1e2, "slower for each other batch that runs"),
    "enter_s": ("ms", 1e3, "of the event loop before a text waits in the queue"),
    "leave_s": ("ms", 1e3, "of the event loop after its batch"),
    "hit_s": ("ms", 1e3, "of the event loop for a cached answer"),
    "steal": ("%", 1e2, "of the event loop's time that busy engines lose"),
    "fixed_s": ("ms", 1e3, "of network and client"),
    "spread": ("%", 1e2, "standard deviation of a batch's time"),
}


class Calibrator:
    """Makes a simulator out of a server. `first` is the baseline's run, of the `workload`."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it works with, each given by the pipeline
        self,
        bench: Bench,
        order: Order,
        journal: Journal,
        watcher: Watcher,
        first: LiveRun,
        workload: Workload,
    ) -> None:
        assert order.station is not None
        self._bench, self._order, self._journal, self._watcher = bench, order, journal, watcher
        self._station: Station = order.station
        self._first = first
        self._workload = workload

    def run(self) -> Simulator:
        """Probe, fit, look at two corners of the space live, fit again. Raises TrialFailed, ConfigError."""
        began = time.monotonic()
        probed = self._probe()
        evidence = [LiveEvidence(self._station, self._first.observation, self._first.batches)]
        log = probed.joined(self._first.batches)
        fits = bootstrap(log, DRAWS, seed=self._order.seed)
        belief = posterior(self._workload, evidence, fits, seed=self._order.seed)
        simulator = self._simulator(belief)
        self._watcher.advance()
        for corner in self._corners(simulator):
            try:
                run = self._journal.live("calibrate", corner)
            except TrialFailed:  # written down; a setting that cannot be tried says nothing of the others
                continue
            if not run.observation.answered_ms.size:
                continue
            evidence.append(LiveEvidence(simulator.station(corner), run.observation, run.batches))
            log = log.joined(run.batches)
        fits = bootstrap(log, DRAWS, seed=self._order.seed)
        belief = posterior(self._workload, evidence, fits, seed=self._order.seed)
        self._tell(belief, fits, log, time.monotonic() - began)
        return self._simulator(belief)

    def _simulator(self, belief: Posterior) -> Simulator:
        return Simulator(self._workload, self._station, belief, self._order.service)

    def _probe(self) -> BatchLog:
        """Batches of all sizes and lengths that this workload and these knobs may ever form."""
        self._bench.take_batches()
        began = time.monotonic()
        lengths = sorted({int(q) for q in np.quantile(self._workload.length, LENGTH_QUANTILES)})
        most = self._widest()
        for _ in range(PROBE_ROUNDS):
            for rows in PROBE_ROWS:
                for length in lengths:
                    if rows * length <= most and time.monotonic() - began < PROBE_S:
                        self._bench.probe(rows, length)
        log = self._bench.take_batches()
        self._watcher.step(f"{len(log)} batches probed in {time.monotonic() - began:.1f} s")
        return log

    def _widest(self) -> int:
        """Padded tokens of the largest batch that any setting may form."""
        costs = [
            value
            for knob in self._order.space.knobs
            if knob.name.endswith(".batch.max_cost")
            for value in knob.choices
            if isinstance(value, int)
        ]
        return max([self._station.batch.max_cost, *costs])

    def _corners(self, simulator: Simulator) -> list[Setting]:
        """The setting that looks best, and the one that is most unlike the baseline: both sides of what is searched."""
        settings = (
            list(self._order.space.settings()) if (self._order.space.size or 4097) <= 4096 else self._few()
        )
        modelled = [one for one in settings if one and all(simulator.models(name) for name in one)]
        if not modelled:
            return []
        expected = simulator.expect(modelled, self._order.goal, particles=2, share=0.5)
        used = simulator.utilisation([one.setting for one in expected])
        safe = [one for one, share in zip(expected, used, strict=True) if share < SAFE]
        if not safe:
            return []
        best = min(safe, key=lambda one: (one.violation, one.values["p95_ms"], len(one.setting)))
        held = [one for one in safe if one.values["error_percent"] == 0.0] or safe
        baseline = self._first.observation.p(0.95)
        unlike = max(held, key=lambda one: _unlike(one, best, baseline))
        corners = [best.setting, unlike.setting]
        return corners[: 1 if key(corners[0]) == key(corners[1]) else CORNERS]

    def _few(self) -> list[Setting]:
        space = self._order.space
        return [setting for group in space.groups for setting in space.settings(group)][:4096]

    def _tell(self, belief: Posterior, fits: Sequence[ServiceFit], log: BatchLog, seconds: float) -> None:
        errors = np.abs(log.run_s / fits[0].seconds(log) - 1.0)
        self._journal.found["calibration"] = Calibration(
            coefficients=[_coefficient(name, belief.particles) for name in _MEANINGS],
            batches=len(log),
            residual_percent=100.0 * float(np.median(errors)),
            particles=len(belief.particles),
            seconds=seconds,
        )
        self._watcher.step(
            f"{len(log)} batches fitted to {100 * float(np.median(errors)):.1f} % each, predictions of p95 to "
            f"+-{100 * 2 * belief.error:.0f} %"
        )


def _unlike(one: Expected, best: Expected, baseline_ms: float) -> float:
    """How far a setting is from the best one and the baseline in latency, without being absurd."""
    p95 = min(one.values["p95_ms"], 8.0 * baseline_ms)
    return abs(float(np.log(p95 / best.values["p95_ms"]))) + abs(float(np.log(p95 / baseline_ms)))


def _coefficient(name: str, particles: Sequence[ServiceModel]) -> Coefficient:
    unit, scale, meaning = _MEANINGS[name]
    values = np.array([getattr(particle, name) for particle in particles]) * scale
    low, high = np.quantile(values, [0.025, 0.975]).tolist()
    return Coefficient(name=name, unit=unit, value=float(values.mean()), low=low, high=high, meaning=meaning)

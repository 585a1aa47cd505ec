"""Whole tunes of a simulated server, read as everybody reads them."""

from __future__ import annotations

import pytest
from simulated_bench import ADAPTIVE, ERRORS, SIZE, WAIT, SimulatedBench, order_for

from paceline.base.slo import Objective
from paceline.tune.calibrate import posterior
from paceline.tune.goal import Goal
from paceline.tune.knob import Knob
from paceline.tune.pipeline import Tuner
from paceline.tune.report import decode, encode
from paceline.tune.watcher import Silence

POOLING = Knob("embed.pooling", "mean", ("mean", "cls"), quality=True)
IMPOSSIBLE = Goal((Objective("p95_ms", "p95 latency", 1, 2, "ms"), ERRORS))


@pytest.fixture(autouse=True)
def rough_calibration(monkeypatch):
    """Where it is imported every tune calibrates on few draws."""
    monkeypatch.setattr(posterior, "DRAWS", 48)


def tune(bench, order=None, watcher=None):
    """A report that has been through JSON, as every reader gets it."""
    report = Tuner(bench, order or order_for(), watcher or Silence(), now=bench.now).run()
    read = decode(encode(report))
    assert read.why
    return read


def said(report):
    return " ".join([*report.why, *report.warnings])


def phases(report):
    """In order, each once."""
    return list(dict.fromkeys(trial.phase for trial in report.trials))


class Judge:
    """A quality gate: each setting's scores on 40 samples, as `scores_of` says."""

    metric = "accuracy"

    def __init__(self, scores_of):
        self.asked = []
        self._scores_of = scores_of

    def scores(self, setting):
        self.asked.append(dict(setting))
        return [self._scores_of(setting)] * 39 + [0.5]


def before(name):
    return {WAIT: "20.0", SIZE: "32", ADAPTIVE: "false"}[name]


class Phases(Silence):
    """Knows which phase it is, and how many runs it has had."""

    def __init__(self):
        self.name, self.runs = "", 0

    def phase(self, name, total):
        self.name, self.runs = name, 0


class StoppedWhileProbing(SimulatedBench):
    def probe(self, rows, length):
        raise KeyboardInterrupt


def quicker_with_cls(number, setting):
    return 0.5 if "embed.pooling" in setting else 1.0


def bad_windows(at, count, factor=30.0):
    """The first `count` runs while it is applied."""

    def disturbed(number, setting):
        at.runs += 1
        return factor if at.name == "apply in steps" and at.runs <= count else 1.0

    return disturbed

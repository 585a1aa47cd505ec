"""Whether the same texts stay each other's nearest."""

from __future__ import annotations

import pytest

from paceline.app.tuning.neighbours import NEIGHBOURS, SAMPLES, NeighbourGate
from paceline.tune.calibrate.batch_log import BatchLog
from paceline.tune.quality import check

FOLDED = {"cache.normalize": "space+case"}


class StandsStill:
    """A server whose settings nobody changes."""

    def __init__(self):
        self.tried = []

    def try_out(self, setting):
        self.tried.append(dict(setting))

    def take_batches(self):
        return BatchLog.of([])

    def revert(self):
        self.tried.append("revert")

    def keep(self, setting):
        self.tried.append(("keep", setting))

    def alive(self):
        return True


@pytest.fixture
def gate(tuned_server, plan_for):
    server = StandsStill()
    return NeighbourGate(plan_for(tuned_server.url, rate=300.0), server), server


def test_the_baseline_scores_one_everywhere(gate):
    scores = gate[0].scores({})

    assert len(scores) == SAMPLES
    assert set(scores) == {1.0}


def test_a_setting_that_changes_no_answer_loses_nothing_and_is_accepted(gate):
    judge, server = gate
    found = check(judge, judge.scores({}), FOLDED, allowed=0.0)

    assert (found.accepted, found.loss.value) == (True, 0.0)
    assert server.tried == [{}, FOLDED]
    assert f"{NEIGHBOURS} nearest" in judge.metric


def test_a_server_that_ranks_otherwise_loses(gate, monkeypatch):
    """As if the vectors were noise: hardly any neighbour is the same."""
    import numpy as np

    judge, _ = gate
    baseline = judge.scores({})
    real = judge._vectors
    source = np.random.default_rng(1)
    monkeypatch.setattr(judge, "_vectors", lambda: source.standard_normal(real().shape).astype(np.float32))
    found = check(judge, baseline, FOLDED, allowed=0.05)

    assert not found.accepted
    assert found.loss.low > 0.5

"""Two settings, block by block, on a simulated machine."""

from __future__ import annotations

from math import nan

import msgspec
import numpy as np
import pytest

from machine_noise import MEASURED, QUIET
from paceline.base.errors import ConfigError, Unreachable
from paceline.base.slo import Objective
from paceline.tune.ab import AbResult, AbStopped, run_ab
from paceline.tune.goal import Goal
from paceline.tune.observation import Observation

GOAL = Goal(
    (Objective("p95_ms", "p95 latency", 100, 200, "ms"), Objective("error_percent", "errors", 1, 2, "%"))
)


class Machine:
    """Runs segments one after the other; both settings feel the same noise."""

    def __init__(self, noise=QUIET, seed=1):
        self.order = []
        self._noise = iter(noise.runs(np.random.default_rng(seed), 1_000))

    def setting(self, name, latency_ms, *, failed=0, error=None):
        def run():
            self.order.append(name)
            slower = np.exp(next(self._noise))
            if error and len(self.order) > error[0]:
                raise error[1]
            answered = [latency_ms * slower] * (100 - failed)
            return Observation([*answered, *[nan] * failed], 100, failed, 2.0)

        return run


def test_finds_a_gain_and_stops():
    """30 % in fewer than the 30 blocks allowed."""
    machine, heard = Machine(MEASURED), []
    result = run_ab(machine.setting("a", 80), machine.setting("b", 56), GOAL, on_block=heard.append)

    assert result.change.outcome == "better"
    assert result.change.low < -0.3 < result.change.high < 0
    assert result.ended == f"better after {len(result.blocks)} blocks"
    assert heard == result.blocks
    assert 6 < len(heard) < 30


def test_says_so_when_there_is_none():
    """The same setting twice."""
    machine = Machine(MEASURED)
    result = run_ab(machine.setting("a", 80), machine.setting("b", 80), GOAL, max_blocks=12)

    assert result.change.outcome == "undecided"
    assert result.change.low < 0 < result.change.high
    assert result.ended == "12 blocks are used up"


def test_a_coin_from_the_seed_decides_who_goes_first():
    """Both sides once in each block; the same seed, the same order."""

    def order(seed):
        machine = Machine()
        result = run_ab(machine.setting("a", 80), machine.setting("b", 80), GOAL, seed=seed, margin=0.0)
        pairs = list(zip(machine.order[::2], machine.order[1::2], strict=True))
        assert all(set(pair) == {"a", "b"} for pair in pairs)
        assert [block.first for block in result.blocks] == [first for first, _ in pairs]
        return machine.order

    assert order(1) == order(1) != order(2)
    assert 8 <= order(3)[::2].count("a") <= 22


def test_violations_and_errors_stand_beside_the_score():
    """B is faster, and loses 2 % of the requests."""
    machine = Machine()
    result = run_ab(machine.setting("a", 120), machine.setting("b", 60, failed=2), GOAL)

    assert result.change.outcome == "better"
    assert result.a.violation == pytest.approx(0.2, abs=0.1)
    assert result.a.error_percent == 0
    assert (result.b.error_percent, result.b.violation) == (2, 1)
    assert result.b.values["p95_ms"] == pytest.approx(result.b.score)


def test_a_side_that_raises_has_failed():
    """The server died at setting B: worse, with the reason, and no traceback."""
    machine = Machine()
    dying = machine.setting("b", 60, error=(0, Unreachable("connection refused at :8000")))
    result = run_ab(machine.setting("a", 80), dying, GOAL)

    assert result.change.outcome == "worse"
    assert set(result.b.failures) == {"connection refused at :8000"}
    assert (result.b.score, result.b.violation, result.b.error_percent) == (None, None, None)
    assert result.a.failures == []


def test_an_error_without_words_is_named():
    """Whatever stopped it."""
    machine = Machine()
    result = run_ab(machine.setting("a", 80), machine.setting("b", 60, error=(0, TimeoutError())), GOAL)

    assert result.blocks[0].b.failure == "TimeoutError"


def test_ends_when_the_server_is_down():
    """Three blocks without either side are enough."""
    machine = Machine()
    down = (4, Unreachable("connection refused"))
    result = run_ab(machine.setting("a", 80, error=down), machine.setting("b", 80, error=down), GOAL)

    assert len(result.blocks) == 5
    assert result.change.outcome == "undecided"
    assert result.change.blocks == 2
    assert result.ended == "both sides failed 3 times in a row: connection refused"


def test_a_segment_without_an_answer_is_a_lost_one():
    """All requests failed: nothing to show, infinitely far from the target."""
    machine = Machine()
    result = run_ab(machine.setting("a", 80), machine.setting("b", 60, failed=100), GOAL)

    assert result.change.outcome == "worse"
    assert result.b.violation is None
    assert result.b.error_percent == 100


def test_the_result_is_json():
    """And comes back the same."""
    machine = Machine()
    result = run_ab(machine.setting("a", 80), machine.setting("b", 60, failed=100), GOAL)

    assert msgspec.json.decode(msgspec.json.encode(result), type=AbResult) == result


def test_refuses_fewer_blocks_than_can_decide():
    """Six coins at 95 %."""
    machine = Machine()
    with pytest.raises(ConfigError, match="no fewer than 6 blocks can decide at 95 %"):
        run_ab(machine.setting("a", 80), machine.setting("b", 80), GOAL, max_blocks=5)


def test_an_aim_that_runs_cannot_tell_is_not_a_failure_of_a_side():
    """It is the user's to change."""
    machine = Machine()
    with pytest.raises(ConfigError, match="needs the CPU seconds"):
        run_ab(machine.setting("a", 80), machine.setting("b", 80), Goal((), "cost"))


def test_stopped_by_hand_it_tells_of_the_whole_blocks():
    """The ninth segment is of a block that nobody will finish; it counts on neither side."""
    machine = Machine()
    stopped = (8, KeyboardInterrupt())
    a, b = machine.setting("a", 80, error=stopped), machine.setting("b", 120, failed=5, error=stopped)
    with pytest.raises(AbStopped) as caught:
        run_ab(a, b, GOAL)

    result = caught.value.result
    assert (len(result.blocks), result.change.outcome) == (4, "undecided")
    assert result.ended == "stopped by hand after 4 blocks"
    assert (result.a.failures, result.b.failures) == ([], [])
    assert (result.a.error_percent, result.b.error_percent) == (0, 5)
    assert result.a.score == np.median([block.a.score for block in result.blocks])

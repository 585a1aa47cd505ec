"""The blind searches keep to their budget, never repeat themselves, and learn from what died."""

import builtins
import itertools

import pytest

from paceline.base.errors import ConfigError
from paceline.tune.blackbox import BlackBoxSearch, RandomSearch
from paceline.tune.knob import Knob
from paceline.tune.setting import key

THREADS = Knob("threads", 1, values=(1, 4, 2))
MODE = Knob("mode", "slow", values=("slow", "fast"))
DEPTH = Knob("depth", 8, low=1, high=64, scale="log", integer=True)
SHARE = Knob("share", 0.5, low=0.25, high=0.75)
LIVE = Knob("live", False, values=(False, True))
ALL = (THREADS, MODE, DEPTH, SHARE, LIVE)

both = pytest.mark.parametrize("search", [BlackBoxSearch, RandomSearch])


def cost(setting) -> float:
    """Least at threads=4, depth=32, fast."""
    return (
        abs(setting.get("threads", 1) - 4)
        + abs(setting.get("depth", 8) - 32) / 8
        + (setting.get("mode", "slow") == "slow")
    )


def run(search):
    """Every proposal with its cost, in order."""
    proposals = []
    while (setting := search.propose()) is not None:
        proposals.append(setting)
        search.tell(setting, cost(setting))
    return proposals


@both
def test_the_budget_is_the_number_of_live_runs(search):
    """What is told without having been proposed costs nothing of it."""
    searching = search(ALL, budget=7)
    searching.tell({}, 5.0)

    assert len(run(searching)) == 7


@both
def test_proposals_are_new_and_hold_to_the_ranges(search):
    """A setting names only what differs from the baseline, which is never proposed itself."""
    proposals = run(search(ALL, budget=40))
    known = {knob.name: knob for knob in ALL}

    assert len({key(setting) for setting in proposals}) == 40
    assert all(known[name].takes(value) for setting in proposals for name, value in setting.items())
    assert all(value != known[name].baseline for setting in proposals for name, value in setting.items())
    assert {} not in proposals


@both
def test_a_small_space_is_tried_to_its_end(search):
    """Every setting once, then None, whatever the budget."""
    proposals = run(search((THREADS, MODE, LIVE), budget=100))
    everything = {
        tuple(
            sorted(
                (knob.name, value)
                for knob, value in zip((THREADS, MODE, LIVE), values, strict=True)
                if value != knob.baseline
            )
        )
        for values in itertools.product(THREADS.values, MODE.values, LIVE.values)
    }

    assert {key(setting) for setting in proposals} == everything - {()}


@both
def test_the_same_seed_proposes_the_same(search):
    """And another one something else."""
    assert run(search(ALL, 12, seed=3)) == run(search(ALL, 12, seed=3))
    assert run(search(ALL, 12, seed=3)) != run(search(ALL, 12, seed=4))


@both
def test_the_best_are_feasible_and_in_order(search):
    """The baseline takes part when it was told; what died or broke a rule does not."""
    searching = search((THREADS, MODE), budget=10)
    searching.tell({}, 3.0)
    searching.tell({"threads": 2}, 2.0)
    searching.tell({"threads": 4}, 1.0, violation=0.2)
    searching.tell({"mode": "fast"}, None)

    assert searching.best(3) == [{"threads": 2}, {}]
    assert searching.best(1) == [{"threads": 2}]


@both
def test_without_a_feasible_setting_the_closest_is_known(search):
    """For the message about an objective that cannot be met."""
    searching = search((THREADS,), budget=10)
    nothing = searching.closest()
    searching.tell({}, 1.0, violation=3.0)
    searching.tell({"threads": 2}, 9.0, violation=0.5)
    searching.tell({"threads": 4}, None, violation=0.0)

    assert nothing is None
    assert searching.best(3) == []
    assert searching.closest() == {"threads": 2}


def test_optuna_beats_chance_on_a_smooth_cost():
    """With 25 runs among 384 settings, in the mean of ten seeds."""
    depth = Knob("depth", 8, low=1, high=64, integer=True)

    def mean_best(search) -> float:
        found = 0.0
        for seed in range(10):
            searching = search((THREADS, MODE, depth), 25, seed)
            searching.tell({}, cost({}))
            run(searching)
            found += cost(searching.best(1)[0])
        return found / 10

    assert mean_best(BlackBoxSearch) < 0.6 * mean_best(RandomSearch)


def test_optuna_leaves_the_region_that_dies():
    """All above depth 16 dies; chance would go there for three quarters of the runs."""
    depth = Knob("depth", 8, low=1, high=64, integer=True)
    searching = BlackBoxSearch((depth,), budget=30)
    searching.tell({}, 8.0)
    died = 0
    while (setting := searching.propose()) is not None:
        alive = setting["depth"] <= 16
        died += not alive
        searching.tell(setting, 16.0 - setting["depth"] if alive else None)

    assert died < 20
    assert searching.best(1) == [{"depth": 16}]


def test_without_optuna_the_way_out_is_said(monkeypatch):
    """It is an extra."""
    real = builtins.__import__

    def without(name, *rest):
        if name == "optuna":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(ConfigError, match=r"pip install 'paceline\[tune\]'"):
        BlackBoxSearch((THREADS,), 5)


@both
def test_a_baseline_that_is_none_of_the_values_is_another_choice(search):
    """A running server has any value; a number is the same with a point or without."""
    knobs = (Knob("size", 7, values=(1, 4, 16)), Knob("wait", 5, values=(0.0, 5.0)))
    searching = search(knobs, budget=20)
    searching.tell({}, 1.0)
    proposals = run(searching)

    assert len(proposals) == 4 * 2 - 1
    assert {setting["size"] for setting in proposals if "size" in setting} == {1, 4, 16}
    assert {setting["wait"] for setting in proposals if "wait" in setting} == {0.0}

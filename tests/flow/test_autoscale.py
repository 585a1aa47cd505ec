from math import ceil, inf, isnan, nan

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscale_signals import ALL, HPA, SYNC_S, constant, run, settled, signals
from hpa import Hpa
from paceline.base.errors import ConfigError
from paceline.flow.autoscale import AutoscalePolicy, Signals, State, decide

# -- the shares -------------------------------------------------------------------------------------------------------


def test_more_replicas_come_at_once_as_many_as_bring_cpu_to_its_target():
    decision = decide(HPA, State(4), signals(4, 100.0), 0.0)

    assert decision.replicas == ceil(4 * 100 / 70) == 6
    assert decision.why == "cpu_percent 100 is over 70, which asks for 6"


def test_the_signal_that_asks_for_most_decides():
    decision = decide(HPA, State(4), signals(4, 80.0, memory_percent=100.0), 0.0)

    assert decision.why == "cpu_percent 80 is over 70, which asks for 5"
    assert decide(HPA, State(4), signals(4, 75.0, memory_percent=99.0), 0.0).why == (
        "memory_percent 99 is over 80, which asks for 5"
    )


@pytest.mark.parametrize("cpu_percent", [63.0, 70.0, 77.0])
def test_what_is_within_the_tolerance_changes_nothing(cpu_percent):
    decision = decide(HPA, settled(6), signals(6, cpu_percent), 0.0)

    assert decision.replicas == 6
    assert decision.why == f"cpu_percent {cpu_percent:g} is within 10% of 70"


def test_replicas_that_start_are_counted_so_that_they_are_not_asked_for_twice():
    decision = decide(HPA, State(6), signals(4, 100.0), 0.0)

    assert decision.replicas == 6
    assert decision.why.startswith("only 4 of 6 replicas report, so 6 stay; cpu_percent 66.67 is within")


def test_a_target_of_0_ignores_the_signal():
    policy = AutoscalePolicy(memory_percent=0)

    assert decide(policy, State(4), signals(4, 70.0, memory_percent=100.0), 0.0).replicas == 4


@given(st.floats(0, 2000), st.integers(3, 10))
def test_one_decision_from_full_knowledge_is_the_formula_of_the_twin(load, replicas):
    """Without windows and steps in the way; the twin cuts percents off to whole ones."""
    policy = AutoscalePolicy(down_stabilise_s=0)
    percent = int(load / replicas)
    twin = Hpa(replicas, window_s=0)

    expected = twin.sync(0.0, {"cpu": [percent] * replicas, "memory": [40] * replicas})

    assert decide(policy, State(replicas), signals(replicas, float(percent)), 0.0).replicas == expected


@given(st.floats(0, 2000), st.integers(3, 10), st.integers(0, 10))
def test_with_replicas_that_do_not_report_it_adds_what_the_twin_adds_and_removes_nothing(
    load, replicas, silent
):
    reporting = max(0, replicas - silent)
    percent = int(load / replicas)
    usage = [percent] * reporting + [None] * (replicas - reporting)
    twin = Hpa(replicas, window_s=0)

    theirs = twin.sync(0.0, {"cpu": usage, "memory": [40] * reporting + [None] * (replicas - reporting)})

    ours = decide(
        AutoscalePolicy(down_stabilise_s=0), State(replicas), signals(reporting, float(percent)), 0.0
    )
    if reporting < replicas:
        assert ours.replicas >= replicas
        assert abs(ours.replicas - max(theirs, replicas)) <= 1  # the twin cuts the filled average off


@given(st.lists(st.floats(0, 1200), min_size=1, max_size=120), st.integers(1, 12))
def test_over_any_day_it_does_what_the_twin_does(loads, replicas):
    """With windows and steps, each steering a fleet of its own, when both are told whole percents."""
    twin, state = Hpa(replicas), State(replicas)
    for sync, load in enumerate(loads):
        now = sync * SYNC_S
        percent = int(load / twin.replicas)
        twin.sync(now, {"cpu": [percent] * twin.replicas, "memory": [40] * twin.replicas})
        percent = int(load / state.replicas)
        state = decide(HPA, state, signals(state.replicas, float(percent)), now).state
        assert state.replicas == twin.replicas


# -- down only after the window ---------------------------------------------------------------------------------------


def test_fewer_come_only_when_nothing_above_was_asked_for_during_the_window():
    seen = run(HPA, 8, constant(load=280))

    assert seen[:20] == [8] * 20
    assert seen[20:] == [4] * 80


def test_the_highest_number_of_the_window_holds():
    loads = [280.0] * 10 + [420.0] + [280.0] * 40
    seen = run(HPA, 8, lambda replicas, now: signals(replicas, loads[int(now / SYNC_S)] / replicas), syncs=51)

    assert seen[19:31] == [8] + [6] * 10 + [4]


def test_why_names_what_the_window_holds():
    decision = decide(HPA, State(8, asked=((-100.0, 7),)), signals(8, 35.0), 0.0)

    assert decision.replicas == 7
    assert decision.why == "cpu_percent 35 is under 70, which asks for 4, but 7 were asked for within 300 s"


def test_the_other_window_waits_with_adding():
    policy = AutoscalePolicy(up_stabilise_s=60)
    seen = run(policy, 4, constant(load=400), syncs=6)

    assert seen == [4, 4, 4, 4, 6, 6]
    assert decide(policy, State(4), signals(4, 100.0), 0.0).why.endswith("but not yet for all of 60 s")


def test_after_a_long_silence_a_whole_window_is_waited_for_again():
    state = decide(HPA, settled(8), signals(8, 35.0), 0.0).state
    state = msgspec.structs.replace(state, replicas=8)

    assert decide(HPA, state, signals(8, 35.0), 3600.0).replicas == 8


@given(
    st.lists(st.floats(0, 1000), min_size=2, max_size=100),
    st.sampled_from([HPA, ALL, AutoscalePolicy(step_replicas=1, step_percent=0)]),
)
def test_nothing_is_removed_in_a_window_that_asked_for_it(loads, policy):
    """The number asked for is the shares' formula at least."""
    state, asked = State(6), []
    for sync, load in enumerate(loads):
        now = sync * SYNC_S
        decision = decide(policy, state, signals(state.replicas, load / state.replicas), now)
        asked.append((now, decision.state.asked[-1][1]))
        if decision.replicas < state.replicas:
            recent = [number for at, number in asked if at > now - policy.down_stabilise_s]
            assert sync >= policy.down_stabilise_s / SYNC_S
            assert decision.replicas >= max(recent)
        state = decision.state


# -- steps and bounds -------------------------------------------------------------------------------------------------


def test_a_step_is_the_larger_of_a_share_and_a_number():
    policy = AutoscalePolicy(min_replicas=1, max_replicas=100)

    assert decide(policy, State(2), signals(2, 700.0), 0.0).replicas == 6
    assert decide(policy, State(8), signals(8, 700.0), 0.0).replicas == 16
    assert decide(policy, State(2), signals(2, 700.0), 0.0).why == (
        "cpu_percent 700 is over 70, which asks for 20, 6 in this step of 15 s"
    )


def test_changes_within_the_period_add_up():
    policy = AutoscalePolicy(min_replicas=1, max_replicas=100, step_percent=0, step_replicas=3)
    first = decide(policy, State(2), signals(2, 700.0), 0.0)

    assert first.replicas == 5
    assert decide(policy, first.state, signals(5, 700.0), 10.0).replicas == 5
    assert decide(policy, first.state, signals(5, 700.0), 15.0).replicas == 8


@given(
    st.lists(st.floats(0, 2000), min_size=1, max_size=80),
    st.integers(0, 3),
    st.floats(1, 100),
    st.floats(1, 60),
)
def test_within_a_period_the_replicas_span_no_more_than_a_step(loads, step_replicas, step_percent, sync_s):
    policy = AutoscalePolicy(
        min_replicas=1,
        max_replicas=50,
        down_stabilise_s=0,
        step_replicas=step_replicas,
        step_percent=step_percent,
        queue_depth=8,
        p95_ms=300,
    )
    state, history = State(5), [(-inf, 5)]
    for sync, load in enumerate(loads):
        now = sync * sync_s
        present = state.replicas
        state = decide(policy, state, signals(present, load / present), now).state
        began = next(i for i in reversed(range(len(history))) if history[i][0] <= now - policy.step_s)
        numbers = [number for _, number in history[began:]]
        step = max(step_replicas, ceil(numbers[0] * step_percent / 100))
        assert state.replicas <= max(present, min(numbers) + step)
        assert state.replicas >= min(present, max(numbers) - step)
        history.append((now, state.replicas))


@pytest.mark.parametrize(("replicas", "expected"), [(0, 3), (1, 3), (12, 10)])
def test_replicas_outside_the_bounds_come_back_at_once(replicas, expected):
    decision = decide(HPA, State(replicas), signals(replicas, 70.0), 0.0)

    assert decision.replicas == expected
    assert decision.why == f"{replicas} replicas are outside 3 to 10"


some = st.one_of(st.none(), st.floats(0, 1000), st.just(nan), st.just(inf))


@given(
    st.integers(0, 20),
    st.lists(st.builds(Signals, st.integers(0, 12), some, some, some, some), max_size=30),
)
def test_whatever_is_measured_the_bounds_are_kept_and_the_same_is_answered_twice(replicas, measured):
    state = State(replicas)
    for sync, each in enumerate(measured):
        decision = decide(ALL, state, each, sync * SYNC_S)
        assert decision == decide(ALL, state, each, sync * SYNC_S)
        assert 3 <= decision.replicas <= 10
        assert decision.why
        state = decision.state


# -- what is not known ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", ["cpu_percent", "memory_percent", "queue_depth", "p95_ms"])
@pytest.mark.parametrize("value", [None, nan])
def test_a_signal_that_is_missing_removes_nothing_and_is_named(absent, value):
    decision = decide(ALL, settled(8), msgspec.structs.replace(signals(8, 10.0), **{absent: value}), 0.0)

    assert decision.replicas == 8
    assert decision.why.startswith(f"{absent} not known, so 8 stay")


def test_what_is_known_may_still_add():
    assert decide(ALL, State(4), signals(4, 100.0, memory_percent=None), 0.0).replicas == 6


def test_a_replica_that_does_not_report_removes_nothing():
    decision = decide(HPA, settled(8), signals(7, 10.0), 0.0)

    assert decision.replicas == 8
    assert decision.why.startswith("only 7 of 8 replicas report, so 8 stay")


def test_with_nobody_reporting_everything_stays():
    decision = decide(ALL, settled(8), signals(0, 0.0), 0.0)

    assert decision.replicas == 8
    assert decision.why == "cpu_percent and memory_percent and queue_depth and p95_ms not known, so 8 stay"


def test_the_forecasts_need_the_utilisation_even_when_it_has_no_target():
    policy = AutoscalePolicy(cpu_percent=0, memory_percent=0, p95_ms=300)

    assert decide(policy, settled(8), signals(8, None), 0.0).replicas == 8
    assert decide(policy, settled(8), signals(8, 20.0), 0.0).replicas == 3


@given(st.integers(3, 10), st.lists(st.tuples(some, some, some, some, st.integers(0, 10)), max_size=40))
def test_no_replica_goes_in_a_decision_that_lacks_something(replicas, measured):
    state = State(replicas)
    for sync, (*values, reporting) in enumerate(measured):
        decision = decide(ALL, state, Signals(reporting, *values), sync * SYNC_S)
        lacking = reporting < state.replicas or any(value is None or isnan(value) for value in values)
        if lacking:
            assert decision.replicas >= state.replicas
        state = decision.state


# -- the policy -------------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_sources():
    assert (HPA.min_replicas, HPA.max_replicas, HPA.cpu_percent, HPA.memory_percent) == (3, 10, 70, 80)
    assert len(AutoscalePolicy.__struct_fields__) <= 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"min_replicas": 4, "max_replicas": 3},
            "min_replicas = 4 is more than max_replicas = 3; lower the one",
        ),
        ({"cpu_percent": 0, "memory_percent": 0}, "all 0, so that nothing is left to decide from; give one"),
        ({"step_percent": 0, "step_replicas": 0}, "both 0, so that nothing may change; allow at least 1"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        AutoscalePolicy(**settings)


@pytest.mark.parametrize(
    "settings",
    [{"min_replicas": 0}, {"cpu_percent": 101.0}, {"tolerance": 1.0}, {"step_s": 0.0}, {"p95": 1.0}],
)
def test_a_value_out_of_range_or_an_unknown_name_is_refused_when_it_is_read(settings):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(settings, AutoscalePolicy)

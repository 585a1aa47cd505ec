"""The decision: the largest number asked for, held back by windows and steps."""

from __future__ import annotations

from math import ceil

import msgspec

from paceline.flow.autoscale.need import Ask, asks, missing
from paceline.flow.autoscale.policy import AutoscalePolicy
from paceline.flow.autoscale.removal import fewest, recall
from paceline.flow.autoscale.signals import Signals
from paceline.flow.autoscale.state import ROUNDING, Events, State, within


class Decision(msgspec.Struct, frozen=True):
    """How many replicas there shall be, and why, for people."""

    replicas: int
    why: str
    """The signal that decided, its value and its target, and what held it back."""
    state: State
    """For the next decision. A caller that could not carry this one out keeps the state it had."""


def decide(policy: AutoscalePolicy, state: State, signals: Signals, now: float) -> Decision:
    """The replicas wanted from `now` on (seconds of any clock that does not go back). Reads and changes nothing else."""
    present = state.replicas
    bounded = min(max(present, policy.min_replicas), policy.max_replicas)
    if bounded != present:
        why = f"{present} replicas are outside {policy.min_replicas} to {policy.max_replicas}"
        return _decided(policy, state, Ask(bounded, why), now)
    signals = signals.known()
    settled = not within(state.changes, policy.step_s, now)
    state = recall(policy, state, signals, settled=settled)
    asked = asks(policy, present, signals, settled=settled)
    unknown = missing(policy, present, signals)
    ask = max(asked, key=lambda each: each.replicas, default=Ask(present, ""))
    if unknown and ask.replicas <= present:
        beside = f"; {ask.why}" if ask.why else ""
        return _decided(policy, state, Ask(present, f"{unknown}, so {present} stay{beside}"), now)
    ask = fewest(policy, state, signals, ask)
    state = _noted(policy, state, ask, now)
    return _decided(policy, state, _stepped(policy, state, _stabilised(policy, state, ask, now), now), now)


def _noted(policy: AutoscalePolicy, state: State, ask: Ask, now: float) -> State:
    """What is asked for now joins the window."""
    asked = within(state.asked, max(policy.up_stabilise_s, policy.down_stabilise_s), now)
    if not asked:  # the beginning, or a long silence: nobody knows that another number would have done
        asked = ((now, state.replicas),)
    return msgspec.structs.replace(state, asked=(*asked, (now, ask.replicas)))


def _stabilised(policy: AutoscalePolicy, state: State, ask: Ask, now: float) -> Ask:
    """Up to the least asked for in one window, down to the most asked for in the other."""
    present = state.replicas
    if ask.replicas > present:
        least = min(_numbers(state.asked, policy.up_stabilise_s, now), default=ask.replicas)
        if least >= ask.replicas:
            return ask
        held = max(least, present)
        return Ask(held, f"{ask.why}, but not yet for all of {policy.up_stabilise_s:.4g} s")
    most = max(_numbers(state.asked, policy.down_stabilise_s, now), default=ask.replicas)
    if most <= ask.replicas:
        return ask
    held = min(most, present)
    return Ask(held, f"{ask.why}, but {most} were asked for within {policy.down_stabilise_s:.4g} s")


def _numbers(events: Events, span_s: float, now: float) -> list[int]:
    return [number for _, number in within(events, span_s, now)]


def _stepped(policy: AutoscalePolicy, state: State, ask: Ask, now: float) -> Ask:
    """No further than a step from any number there was within `step_s`."""
    present = state.replicas
    numbers = [present]
    for _, change in reversed(within(state.changes, policy.step_s, now)):
        numbers.append(numbers[-1] - change)
    step = max(policy.step_replicas, ceil(numbers[-1] * policy.step_percent / 100 - ROUNDING))
    lowest, highest = min(present, max(numbers) - step), max(present, min(numbers) + step)
    allowed = min(max(ask.replicas, lowest), highest)
    if allowed == ask.replicas:
        return ask
    return Ask(allowed, f"{ask.why}, {allowed} in this step of {policy.step_s:.4g} s")


def _decided(policy: AutoscalePolicy, state: State, ask: Ask, now: float) -> Decision:
    """Book the change, if it is one, and drop what is too old to matter."""
    changes = within(state.changes, policy.step_s, now)
    if ask.replicas != state.replicas:
        changes = (*changes, (now, ask.replicas - state.replicas))
    asked = within(state.asked, max(policy.up_stabilise_s, policy.down_stabilise_s), now)
    return Decision(ask.replicas, ask.why, State(ask.replicas, asked, changes, state.missed))

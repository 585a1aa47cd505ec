"""The decision in sentences: what was proven, what each change does, what binds, and how to go back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

from paceline.tune.goal import Goal
from paceline.tune.order import Order
from paceline.tune.report import Range, Standing, Trial
from paceline.tune.setting import Setting, label, spelled
from paceline.tune.simulator import SATURATED, Expected, Simulator
from paceline.tune.statistics.always_valid import Change


def percent(change: Range) -> str:
    """`-28.1 % [-33.0, -22.4]`."""
    shown = ["?" if one is None else f"{100 * one:+.1f}" for one in (change.value, change.low, change.high)]
    return f"{shown[0]} % [{shown[1]}, {shown[2]}]"


def proof(blocks: int, change: Range) -> str:
    """Of a gain."""
    return f"A/B over {blocks} blocks in random order: {percent(change)}, by an interval that holds at every look."


def no_gain(winner: Setting, test: Change, change: Range, margin: float) -> str:
    """Why the best candidate is not taken; `change` is that of the metric, in its own direction."""
    name = label(winner)
    if test.outcome == "worse":
        return f"The best candidate ({name}) is worse than the baseline: {percent(change)}."
    if test.outcome == "equivalent":
        return f"The best candidate ({name}) and the baseline are within {100 * margin:g} % of each other: {percent(change)}."
    if change.value is None:
        return f"No gain is proven: no block of the A/B test of {name} told anything."
    if change.low is None or change.high is None:
        return (
            f"No gain is proven: {name} changes it by about {100 * change.value:+.1f} %, and {test.blocks} blocks are too "
            "few to be sure; give a larger --budget."
        )
    return f"No gain is proven: {name} changes it by {percent(change)}: it may as well be no gain."


def simulated(
    winner: Setting, expected: Expected, baseline: Expected, simulator: Simulator, goal: Goal
) -> list[str]:
    """What the simulation says of the winner, and of each of its changes alone."""
    latency = f"p95 goes from {baseline.values['p95_ms']:.1f} to {expected.values['p95_ms']:.1f} ms"
    engine = f"engine time from {baseline.engine_ms:.2f} to {expected.engine_ms:.2f} ms a request"
    sentences = [f"In simulation {latency} and {engine}."]
    if len(winner) > 1:
        alone = simulator.expect([{name: winner[name]} for name in sorted(winner)], goal)
        effects = (
            f"{label(one.setting)} {100 * (one.values['p95_ms'] / baseline.values['p95_ms'] - 1):+.0f} %"
            for one in alone
        )
        sentences.append(f"Alone, by simulation of p95: {', '.join(effects)}.")
    return sentences


def verified(standings: Sequence[Standing], ended: str) -> str:
    """How the winner came to be it."""
    runs = sum(row.runs for row in standings)
    return f"It came first of {len(standings)} candidates in {runs} live runs ({ended})."


def closest(trial: Trial, goal: Goal) -> str:
    """What comes nearest to an SLO that nothing holds."""
    binding = goal.binding(trial.values)
    assert binding is not None, "nothing binds where the SLO is held"
    return (
        f"No setting holds the SLO. Closest is {label(trial.setting)}: {binding.label} {trial.values[binding.name]:.4g} "
        f"{binding.unit} for a target of {binding.target:g} {binding.unit}."
    )


def binds(used: float) -> str:
    """Whether the queue or the engine is the limit, at a share `used` of what the setting can do."""
    if used >= SATURATED:
        why = "it is saturated; add a replica, or lower the load."
    else:
        why = "the time of single batches binds, not the queue; a faster engine or precision, or shorter texts help."
    return f"There the server does {100 * used:.0f} % of what it can: {why}"


def undo(order: Order, winner: Setting) -> list[str]:
    """How to bring the baseline back: on the running server if it was applied, else where it is started."""
    back = order.space.full({})
    old = {name: back[name] for name in sorted(winner)}
    if order.reach == "launch":
        return [f"{name} = {spelled(value)}" for name, value in old.items()]
    started = f"paceline serve {' '.join(f'--set {name}={spelled(value)}' for name, value in old.items())}"
    if not order.apply:
        return [started]
    parts = urlsplit(order.url)
    page = f"{parts.scheme}://{parts.netloc}/admin/settings"
    changes = _quoted(json.dumps({"changes": old}))
    return [f'curl -X PATCH {page} -H "Authorization: Bearer $PACELINE_ADMIN__TOKEN" -d {changes}']


def _quoted(text: str) -> str:
    """For a shell."""
    return "'" + text.replace("'", "'\\''") + "'"

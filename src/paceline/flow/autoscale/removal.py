"""Which replicas may go: the forecast of queue and p95 for those that stay, and what was seen before.

Forecast: the time in a single-server queue grows with 1 / (1 - utilisation), and by Little's law its length is that
time multiplied by the arrivals. It is a lower bound on trouble, not a promise; `Missed` remembers where it was wrong.
"""

from __future__ import annotations

from math import inf

import msgspec

from paceline.flow.autoscale.need import SYMPTOMS, Ask, misses
from paceline.flow.autoscale.policy import AutoscalePolicy
from paceline.flow.autoscale.signals import Signals
from paceline.flow.autoscale.state import Missed, State


def recall(policy: AutoscalePolicy, state: State, signals: Signals, *, settled: bool) -> State:
    """Remember the replicas that miss a symptom's target now; forget those that would hold it again."""
    load = signals.load
    if load is None:
        return state
    missed = state.missed
    if missed is not None and not missed.refuses(missed.replicas, load):
        missed = None
    # While replicas start, those that report are the ones that miss it.
    if settled and misses(policy, signals) and (missed is None or signals.reporting >= missed.replicas):
        missed = Missed(signals.reporting, load)
    return msgspec.structs.replace(state, missed=missed)


def fewest(policy: AutoscalePolicy, state: State, signals: Signals, ask: Ask) -> Ask:
    """`ask`, or the next larger number up to those there are that leaves the symptoms room.

    Nothing may be missing from `signals`, or more replicas than there are must be asked for.
    """
    if not policy.symptoms or ask.replicas >= state.replicas:
        return ask
    why = ask.why
    for replicas in range(ask.replicas, state.replicas):
        objection = _objection(policy, state.missed, signals, replicas)
        if not objection:
            return Ask(replicas, why)
        why = objection
    return Ask(state.replicas, why)


def _objection(policy: AutoscalePolicy, missed: Missed | None, signals: Signals, replicas: int) -> str:
    """What speaks against going down to `replicas`; empty when nothing does."""
    cpu_percent, load = signals.cpu_percent, signals.load
    assert cpu_percent is not None, "nothing is removed while the utilisation is not known"
    assert load is not None
    idle = 1 - load / 100 / replicas
    slower = (1 - cpu_percent / 100) / idle if idle > 0 else inf
    for name, factor in (("p95_ms", slower), ("queue_depth", slower * signals.reporting / replicas)):
        value, target = getattr(signals, name), getattr(policy, name)
        if not target:
            continue
        forecast = value * factor if value and idle > 0 else value
        if idle <= 0 or forecast > target * (1 - policy.tolerance):
            about = f"about {forecast:.4g}" if idle > 0 else "without bound"
            return f"{name} {value:.4g} would be {about} with {replicas}, too near its target of {target:.4g}"
    if missed is not None and missed.refuses(replicas, load):
        symptoms = " or ".join(name for name in SYMPTOMS if getattr(policy, name))
        return (
            f"{missed.replicas} replicas missed {symptoms} at {missed.load:.4g} % CPU in all, and it is "
            f"{load:.4g} % now"
        )
    return ""

"""How many replicas each signal asks for.

Two kinds of signal:

- *shares* (CPU, memory) say how many replicas are missing: all that is used, divided by what each should use, rounded
  up; the formula of the Kubernetes HorizontalPodAutoscaler, whose defaults are ours;
- *symptoms* (queue depth, p95) say that some are missing. A queue names a number, since work that waits can be
  divided; p95 asks for one more (or for `tolerance` more) at a time. Both stay silent until the last change has told.
"""

from __future__ import annotations

from math import ceil

import msgspec

from paceline.flow.autoscale.policy import AutoscalePolicy
from paceline.flow.autoscale.signals import Signals
from paceline.flow.autoscale.state import ROUNDING

SHARES = ("cpu_percent", "memory_percent")
SYMPTOMS = ("queue_depth", "p95_ms")


class Ask(msgspec.Struct, frozen=True):
    """A number of replicas and what speaks for it."""

    replicas: int
    why: str


def asks(policy: AutoscalePolicy, present: int, signals: Signals, *, settled: bool) -> list[Ask]:
    """One for each signal that is on and known, within the bounds of the policy.

    `present`: replicas wanted so far. `settled`: their number has not changed of late.
    """
    found = []
    for name in SHARES:
        value, target = getattr(signals, name), getattr(policy, name)
        if target and value is not None:
            found.append(_share(policy, present, name, value * signals.reporting, target))
    told = settled and signals.reporting >= present
    for name in SYMPTOMS:
        value, target = getattr(signals, name), getattr(policy, name)
        if target and value is not None:
            found.append(_symptom(policy, present, name, value, told=told))
    return found


def missing(policy: AutoscalePolicy, present: int, signals: Signals) -> str:
    """What would have to be known before a replica is removed; empty when all is."""
    wanted = [name for name in (*SHARES, *SYMPTOMS) if getattr(policy, name)]
    if policy.symptoms and not policy.cpu_percent:
        wanted.append("cpu_percent")  # the forecasts need it
    absent = [name for name in wanted if getattr(signals, name) is None]
    if absent:
        return f"{' and '.join(absent)} not known"
    if signals.reporting < present:
        return f"only {signals.reporting} of {present} replicas report"
    return ""


def misses(policy: AutoscalePolicy, signals: Signals) -> bool:
    """Whether a symptom is over its target now."""
    return any(
        target and value is not None and _over(policy, value, target)
        for value, target in ((getattr(signals, name), getattr(policy, name)) for name in SYMPTOMS)
    )


def _share(policy: AutoscalePolicy, present: int, name: str, total: float, target: float) -> Ask:
    """As many replicas as bring `total`, evenly divided, to the target; those there are when it is near already."""
    each = total / present  # once all report: those that start now will take their part
    if abs(each / target - 1) <= policy.tolerance + ROUNDING:
        return Ask(present, f"{name} {each:.4g} is within {policy.tolerance:.0%} of {target:.4g}")
    wanted = _whole(policy, total / target)
    relation = "over" if each > target else "under"
    return Ask(wanted, f"{name} {each:.4g} is {relation} {target:.4g}, which asks for {wanted}")


def _symptom(policy: AutoscalePolicy, present: int, name: str, value: float, *, told: bool) -> Ask:
    """More replicas when over the target; otherwise any number will do as far as this signal goes."""
    target = getattr(policy, name)
    if not _over(policy, value, target):
        return Ask(policy.min_replicas, f"{name} {value:.4g} is not over {target:.4g}")
    if not told:
        return Ask(present, f"{name} {value:.4g} is over {target:.4g}, but the last change has yet to tell")
    if name == "queue_depth":
        wanted = _whole(policy, present * (value / target))
    else:
        wanted = _whole(policy, present + max(1.0, present * policy.tolerance))
    return Ask(wanted, f"{name} {value:.4g} is over {target:.4g}, which asks for {wanted}")


def _whole(policy: AutoscalePolicy, replicas: float) -> int:
    """Rounded up, within the bounds."""
    if replicas >= policy.max_replicas:
        return policy.max_replicas
    return max(policy.min_replicas, ceil(replicas - ROUNDING))


def _over(policy: AutoscalePolicy, value: float, target: float) -> bool:
    return value > target * (1 + policy.tolerance)

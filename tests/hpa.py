"""The Kubernetes HorizontalPodAutoscaler (autoscaling/v2) as its documentation describes it, written plainly.

The twin of `paceline.flow.autoscale` for resource metrics: averages are whole percents, the default behaviour is used
(scale up by 100 % or 4 pods within 15 s, whichever is more; scale down by 100 % within 15 s, to the highest
recommendation of 300 s), and pods without a metric are counted as idle when that would add pods and as fully used when it
would remove some.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

Usage = list[float | None]
"""Percent of its request that each pod uses; None where there is no metric."""


@dataclass
class Hpa:
    """One autoscaler and the replicas of the workload it steers; `sync` is its loop's body, every 15 s."""

    replicas: int
    minimum: int = 3
    maximum: int = 10
    targets: dict[str, int] = field(default_factory=lambda: {"cpu": 70, "memory": 80})
    tolerance: float = 0.1
    window_s: float = 300.0
    period_s: float = 15.0
    recommended: list[tuple[float, int]] = field(default_factory=list)
    scaled: list[tuple[float, int]] = field(default_factory=list)

    def sync(self, now: float, usages: dict[str, Usage]) -> int:
        """Scale by what the pods use of each resource; the replicas from now on."""
        if self.replicas > self.maximum:
            return self._scale(now, self.maximum)
        if self.replicas < self.minimum:
            return self._scale(now, self.minimum)
        if not self.recommended:
            self.recommended.append((now, self.replicas))
        proposals = [self._proposal(usages[name], target) for name, target in self.targets.items()]
        valid = [proposal for proposal in proposals if proposal is not None]
        if not valid or (len(valid) < len(proposals) and max(valid) <= self.replicas):
            return self.replicas
        wanted = self._limited(now, self._stabilised(now, max(valid)))
        return self._scale(now, min(max(wanted, self.minimum), self.maximum))

    def _proposal(self, usage: Usage, target: int) -> int | None:
        """Pods that one metric asks for; None without any value."""
        known = [value for value in usage if value is not None]
        if not known:
            return None
        ratio = int(sum(known) / len(known)) / target
        if len(known) == len(usage):
            return self.replicas if self._near(ratio) else math.ceil(ratio * len(known))
        filler = float(target) if ratio < 1 else 0.0
        filled = int((sum(known) + filler * (len(usage) - len(known))) / len(usage)) / target
        if self._near(filled) or (ratio < 1 < filled) or (filled < 1 < ratio):
            return self.replicas
        proposal = math.ceil(filled * len(usage))
        wrong_way = (filled < 1 and proposal > self.replicas) or (filled > 1 and proposal < self.replicas)
        return self.replicas if wrong_way else proposal

    def _near(self, ratio: float) -> bool:
        return 1 - self.tolerance <= ratio <= 1 + self.tolerance

    def _stabilised(self, now: float, wanted: int) -> int:
        """Never below what was recommended within the window."""
        recent = [number for at, number in self.recommended if now - at < self.window_s]
        self.recommended = [entry for entry in self.recommended if now - entry[0] < self.window_s]
        self.recommended.append((now, wanted))
        if wanted >= self.replicas:
            return wanted
        return min(self.replicas, max([wanted, *recent]))

    def _limited(self, now: float, wanted: int) -> int:
        """At most the larger of the two steps up from where the period began; down there is no limit but 100 %."""
        begun = self.replicas - sum(change for at, change in self.scaled if now - at < self.period_s)
        return min(wanted, max(self.replicas, begun + 4, begun * 2))

    def _scale(self, now: float, replicas: int) -> int:
        if replicas != self.replicas:
            self.scaled.append((now, replicas - self.replicas))
            self.replicas = replicas
        return replicas

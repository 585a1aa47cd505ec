"""What the replicas say of themselves."""

from __future__ import annotations

from math import isnan

import msgspec


class Signals(msgspec.Struct, frozen=True):
    """What the replicas say at one instant: averages over those that report; None or NaN is not known.

    Measured over no longer than `step_s`, or symptoms tell of the fleet before the last change.
    """

    reporting: int
    """Replicas that answer and are in the averages."""
    cpu_percent: float | None = None
    """Of what a replica may use. Also the utilisation from which queue and p95 are forecast."""
    memory_percent: float | None = None
    queue_depth: float | None = None
    """Jobs waiting per replica."""
    p95_ms: float | None = None
    """Of all replies together. Infinity is a value: more than the largest that was counted."""

    def known(self) -> Signals:
        """NaN, which a rate of nothing is, becomes None; with nobody reporting there are no averages."""
        if self.reporting <= 0:
            return Signals(reporting=0)
        return Signals(
            self.reporting,
            _known(self.cpu_percent),
            _known(self.memory_percent),
            _known(self.queue_depth),
            _known(self.p95_ms),
        )

    @property
    def load(self) -> float | None:
        """CPU percent of all replicas together."""
        return None if self.cpu_percent is None else self.cpu_percent * self.reporting


def _known(value: float | None) -> float | None:
    return None if value is None or isnan(value) else value

"""How much of this machine others used while we measured: a neighbour's test suite is no property of a setting."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import Final, Self

import psutil

_BUSY: Final = ("user", "nice", "system", "irq", "softirq", "steal")


@dataclass(frozen=True, slots=True)
class Reading:
    """Processor seconds so far."""

    at_s: float
    machine_s: float
    """Of all cores, whoever used them; what the hypervisor gave to others counts too."""
    server_s: float
    ours_s: float
    """Of this process and the load generator's workers that have ended."""

    @classmethod
    def of(cls, server: list[psutil.Process]) -> Self:
        """Now. `server` are its processes; one that ended meanwhile counts nothing any more."""
        times = psutil.cpu_times()
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return cls(
            at_s=time.monotonic(),
            machine_s=sum(getattr(times, name, 0.0) for name in _BUSY),
            server_s=sum(map(_seconds, server)),
            ours_s=sum(one.ru_utime + one.ru_stime for one in usage),
        )

    def others_percent(self, later: Reading) -> float:
        """What everybody else used of all cores from this reading to the later one; accurate to about 1 % over 2 s."""
        used = (
            later.machine_s - self.machine_s - (later.server_s - self.server_s) - (later.ours_s - self.ours_s)
        )
        return 100.0 * max(0.0, used) / max((later.at_s - self.at_s) * (psutil.cpu_count() or 1), 1e-9)


def _seconds(process: psutil.Process) -> float:
    try:
        user, system = process.cpu_times()[:2]
    except psutil.Error:
        return 0.0
    return float(user + system)

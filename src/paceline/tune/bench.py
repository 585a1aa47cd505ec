"""What tuning needs of the outside: a server that takes settings, and a load that can be replayed on it.

The composition hands in what satisfies these protocols; nothing here knows HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from paceline.tune.calibrate.batch_log import BatchLog
from paceline.tune.observation import Observation
from paceline.tune.setting import Setting
from paceline.tune.workload import Workload


@dataclass(frozen=True, slots=True)
class LiveRun:
    """One replay of the load, and the batches the server told of."""

    observation: Observation
    batches: BatchLog
    """Empty where the server does not tell."""


class Bench(Protocol):
    """The load of this tune, replayed on the server under tuning. Everything blocks."""

    requests: int
    """In the whole trace."""
    duration_s: float
    """Of the whole trace at speed 1."""

    def run(self, setting: Setting, *, speed: float = 1.0, part: tuple[int, int] | None = None) -> LiveRun:
        """Put the server on trial with `setting` and replay the trace, or requests `part[0]` to `part[1]` of it.

        No two calls share cached answers, unless the trace itself asks twice. Raises TrialFailed, and
        KeyboardInterrupt when the user wants to stop.
        """

    def trace(self) -> Workload:
        """The trace as the simulator replays it, with the lengths that the server counted; after a run."""

    def probe(self, rows: int, length: int) -> None:
        """Ask for one batch of `rows` texts of `length` tokens that nobody has asked for before. Raises TrialFailed."""

    def take_batches(self) -> BatchLog:
        """The batches since the last call. Raises TrialFailed."""

    def revert(self) -> None:
        """Take the server back to its baseline; never raises for a server that is gone."""

    def keep(self, setting: Setting) -> None:
        """Put the server on `setting` for good. Raises TrialFailed."""

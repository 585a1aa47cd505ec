"""A knob as the tuner sees it: the values it takes, where it stands now, whether it changes answers."""

from __future__ import annotations

from typing import Literal

import msgspec

from paceline.tune.setting import Value, spelled

Scale = Literal["linear", "log"]

SIGNIFICANT_DIGITS = 4
"""Of the numbers proposed inside a range: more would make commands unreadable and no server faster."""


class Knob(msgspec.Struct, frozen=True):
    """Either `values`, or a range from `low` to `high` (both included)."""

    name: str
    baseline: Value
    """The value the server has without us, and the one it is put back to."""
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    scale: Scale = "linear"
    integer: bool = False
    quality: bool = False
    """Changes the answers, so that a quality gate must agree."""
    live: bool = True
    """Whether a running server takes it; else it must be started anew."""
    unit: str | None = None
    cost: str = ""
    """What a larger or another value spends, in a word: memory, cpu, latency."""

    @property
    def group(self) -> str:
        """The dotted name without its last part: knobs of one group are searched together."""
        return self.name.rpartition(".")[0]

    @property
    def choices(self) -> tuple[Value, ...]:
        """The baseline's value and the others; of a range the baseline's only."""
        return (self.baseline, *(value for value in self.values if not same(value, self.baseline)))

    def takes(self, value: Value) -> bool:
        """Whether the knob may be set to `value`."""
        if self.values:
            return any(same(value, known) for known in self.values)
        if isinstance(value, bool | str):
            return False
        return self.low <= value <= self.high and (not self.integer or float(value).is_integer())

    def expected(self) -> str:
        """The values it takes, for messages."""
        if self.values:
            return f"one of {', '.join(map(spelled, self.values))}"
        return f"{'an integer' if self.integer else 'a number'} from {self.low:g} to {self.high:g}"

    def count(self) -> float:
        """How many values it takes: infinite for a range of real numbers."""
        if self.values:
            return len(self.choices)
        return int(self.high) - int(self.low) + 1 if self.integer else float("inf")

    def rounded(self, number: float) -> Value:
        """A number of the range as it is proposed: whole, or with few digits."""
        if self.integer:
            return round(number)
        return min(max(float(f"{number:.{SIGNIFICANT_DIGITS}g}"), self.low), self.high)


def same(one: Value, other: Value) -> bool:
    """1 and true are two values, 1 and 1.0 are one number."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)

"""A knob of a server we know nothing about: the values it takes, where it stands now, whether it changes answers."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from paceline.tune.knob import Knob
from paceline.tune.setting import Value, spelled

Scale = Literal["linear", "log"]

RUNGS = 16
"""Values of a range that are searched. A live run is too noisy to tell finer ones apart."""
SIGNIFICANT_DIGITS = 4
"""Of the numbers between: more would make commands unreadable and no server faster."""


class DeclaredKnob(msgspec.Struct, frozen=True):
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

    def takes(self, value: Value) -> bool:
        """Whether the knob may be set to `value`; 1 and true are two values, 1 and 1.0 are one number."""
        if self.values:
            return any(
                value == known and isinstance(value, bool) == isinstance(known, bool) for known in self.values
            )
        if isinstance(value, bool | str):
            return False
        return self.low <= value <= self.high and (not self.integer or float(value).is_integer())

    def expected(self) -> str:
        """The values it takes, for messages."""
        if self.values:
            return f"one of {', '.join(map(spelled, self.values))}"
        return f"{'an integer' if self.integer else 'a number'} from {self.low:g} to {self.high:g}"

    def searched(self) -> Knob:
        """The knob as the search sees it: with at most `RUNGS` values of a range besides the baseline."""
        values = self.values or tuple(sorted({self.baseline, *self._ladder()}, key=float))
        return Knob(self.name, values, self.baseline, live=False, quality=self.quality)

    def _ladder(self) -> list[Value]:
        """The range in even steps, or in even ratios on a log scale."""
        shares = [step / (RUNGS - 1) for step in range(RUNGS)]
        if self.scale == "log":
            spread = math.log(self.high / self.low)
            numbers = [self.low * math.exp(share * spread) for share in shares]
        else:
            numbers = [self.low + share * (self.high - self.low) for share in shares]
        return [self._rounded(number) for number in numbers]

    def _rounded(self, number: float) -> Value:
        if self.integer:
            return round(number)
        return min(max(float(f"{number:.{SIGNIFICANT_DIGITS}g}"), self.low), self.high)

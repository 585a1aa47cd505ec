"""A knob as the tuner sees it, and the space its knobs span."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from paceline.base.errors import ConfigError
from paceline.tune.setting import Setting, Value


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob: the values to search, and the one the server has."""

    name: str
    values: tuple[Value, ...]
    baseline: Value
    live: bool = True
    """Whether a running server takes it; else it must be started anew."""
    quality: bool = False
    """Whether it changes answers, so that a quality gate must agree."""
    unit: str | None = None
    cost: str = ""
    """What a larger value spends: memory, latency."""

    @property
    def group(self) -> str:
        """The dotted name without its last part: knobs of one group are searched together."""
        return self.name.rpartition(".")[0]

    @property
    def choices(self) -> tuple[Value, ...]:
        """The baseline's value and the others."""
        return (self.baseline, *(value for value in self.values if value != self.baseline))


class Space:
    """All settings of some knobs, each as changes relative to the baseline."""

    def __init__(self, knobs: Sequence[Knob]) -> None:
        """Raises ConfigError when nothing can be turned."""
        self.knobs = tuple(knobs)
        if not any(len(knob.choices) > 1 for knob in knobs):
            raise ConfigError(
                "there is nothing to search: no knob has a value besides its baseline; name knobs with --knob"
            )

    def __len__(self) -> int:
        return prod(len(knob.choices) for knob in self.knobs)

    def settings(self, group: str | None = None, around: Setting | None = None) -> Iterator[Setting]:
        """Every combination, the baseline first; of one group only, with `around` for the others."""
        around = around or {}
        turned = [knob for knob in self.knobs if group is None or knob.group == group]
        rest = {name: value for name, value in around.items() if all(knob.name != name for knob in turned)}
        for values in product(*(knob.choices for knob in turned)):
            changes = {
                knob.name: value
                for knob, value in zip(turned, values, strict=True)
                if value != knob.baseline
            }
            yield rest | changes

    @property
    def groups(self) -> tuple[str, ...]:
        """In the order of the knobs."""
        return tuple(dict.fromkeys(knob.group for knob in self.knobs))

    def full(self, setting: Setting) -> dict[str, Value]:
        """The values of all knobs in this setting."""
        return {knob.name: setting.get(knob.name, knob.baseline) for knob in self.knobs}

"""The settings that some knobs span."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import inf, prod

from paceline.base.errors import ConfigError
from paceline.tune.knob import Knob
from paceline.tune.setting import Setting, Value


class Space:
    """All settings of some knobs, each as changes relative to the baseline."""

    def __init__(self, knobs: Sequence[Knob]) -> None:
        """Raises ConfigError when nothing can be turned."""
        self.knobs = tuple(knobs)
        if not any(knob.count() > 1 for knob in knobs):
            raise ConfigError(
                "there is nothing to search: no knob has a value besides its baseline; name knobs with --knob"
            )

    @property
    def size(self) -> int | None:
        """How many settings there are; None when a knob takes any number of a range."""
        count = prod(max(knob.count(), len(knob.choices)) for knob in self.knobs)
        return None if count == inf else int(count)

    def settings(self, group: str | None = None, around: Setting | None = None) -> Iterator[Setting]:
        """Every combination of listed values, the baseline first; of one group only, with `around` for the others."""
        around = around or {}
        turned = [knob for knob in self.knobs if group is None or knob.group == group]
        mine = {knob.name for knob in turned}
        rest = {name: value for name, value in around.items() if name not in mine}
        for values in product(*(enumerate(knob.choices) for knob in turned)):
            # the first choice is the baseline's, which is no change
            yield rest | {knob.name: value for knob, (at, value) in zip(turned, values, strict=True) if at}

    @property
    def groups(self) -> tuple[str, ...]:
        """In the order of the knobs."""
        return tuple(dict.fromkeys(knob.group for knob in self.knobs))

    def full(self, setting: Setting) -> dict[str, Value]:
        """The values of all knobs in this setting."""
        return {knob.name: setting.get(knob.name, knob.baseline) for knob in self.knobs}

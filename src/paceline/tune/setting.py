"""A setting: what differs from the server's own settings, by dotted name."""

from __future__ import annotations

from collections.abc import Mapping

Value = bool | int | float | str
"""What a knob may be turned to."""

Setting = Mapping[str, Value]
"""Changes relative to the baseline; empty is the baseline."""

Key = tuple[tuple[str, Value], ...]
"""A setting as something that can be looked up."""


def key(setting: Setting) -> Key:
    """The same for two settings exactly when they change the same."""
    return tuple(sorted(setting.items()))


def label(setting: Setting) -> str:
    """`max_size=8 max_cost=256`, by the shortest names that tell them apart; `baseline` for no change."""
    names = sorted(setting)
    lasts = [name.rpartition(".")[2] for name in names]
    shown = (
        f"{last if lasts.count(last) == 1 else name}={spelled(setting[name])}"
        for name, last in zip(names, lasts, strict=True)
    )
    return " ".join(shown) or "baseline"


def spelled(value: Value) -> str:
    """A value as `--set`, commands and files take it: `true`, `8`, `0.9`, `on`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)

"""A setting that may be turned: range, unit, help and cost of turning it, written once in the field's type.

    max_cost: Annotated[int, knob("Padded tokens in one batch.", ge=8, le=65536, unit="tokens", live=True)] = 512

The same line validates the value, feeds the reference page and spans the tuner's search space.
"""

from __future__ import annotations

from typing import Any

from msgspec import Meta


def knob(  # noqa: PLR0913 - each is a column of the reference page
    description: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    gt: float | None = None,
    min_length: int | None = None,
    pattern: str | None = None,
    unit: str | None = None,
    live: bool = False,
    tune: bool = False,
    quality: bool = False,
    secret: bool = False,
    cost: str = "",
    grid: tuple[bool | float | str, ...] = (),
) -> Meta:
    """Describe one setting.

    `live`: takes effect on a running server. `tune`: part of the tuner's search space by default.
    `quality`: changes the answers, so a quality gate must agree. `secret`: never printed.
    `cost`: what a larger or another value spends, in a word (memory, cpu, latency); empty for nothing.
    `grid`: the values that the tuner tries, each within the range; a setting to `tune` must have some.
    """
    bounds: dict[str, Any] = {"ge": ge, "le": le, "gt": gt, "min_length": min_length, "pattern": pattern}
    return Meta(
        description=description,
        **bounds,
        extra={
            "unit": unit,
            "live": live,
            "tune": tune,
            "quality": quality,
            "secret": secret,
            "cost": cost,
            "grid": grid,
        },
    )

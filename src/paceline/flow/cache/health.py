"""State of one tier."""

from __future__ import annotations

from typing import Literal

import msgspec


class TierHealth(msgspec.Struct, frozen=True, gc=False):
    """`off` is not used at all, `failing` is skipped for now; both say why."""

    state: Literal["ok", "off", "failing"]
    reason: str = ""

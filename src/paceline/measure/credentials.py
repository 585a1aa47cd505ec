"""Which of a plan's headers are secrets: they are sent, and never written to a report, a script or a file."""

from __future__ import annotations

import re

import msgspec

from paceline.measure.plan import Plan

_SECRET = re.compile(r"authorization|cookie|token|secret|password|credential|api[-_]?key", re.IGNORECASE)
HIDDEN = "(hidden)"


def is_secret(header: str) -> bool:
    """Whether the value of a header of this name is nobody else's business."""
    return _SECRET.search(header) is not None


def concealed(plan: Plan) -> Plan:
    """The plan as it may be written down."""
    headers = {name: HIDDEN if is_secret(name) else value for name, value in plan.target.headers.items()}
    return msgspec.structs.replace(plan, target=msgspec.structs.replace(plan.target, headers=headers))

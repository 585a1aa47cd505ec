"""What an A/B on its own found, as one JSON document: both sides, every block, and the change between them."""

from __future__ import annotations

from typing import Literal

import msgspec

from paceline.base.slo import Objective
from paceline.tune.ab import Block
from paceline.tune.report import AbResult, Aim, SloValue
from paceline.tune.setting import Value

SCHEMA = "paceline.ab-report/1"

AbOutcome = Literal["better", "worse", "equivalent", "undecided", "failed", "interrupted"]
"""Of B beside A. `failed`: neither side could be measured."""


class Contender(msgspec.Struct, frozen=True):
    """One side: which server, on which settings, and what it showed."""

    name: str
    """The file with its settings, `the server's own settings`, or its URL."""
    url: str
    setting: dict[str, Value]
    """Changes to the server's own settings, by dotted name."""
    slo: list[SloValue]
    """The median of the blocks."""
    error_percent: float | None
    """Of all requests sent; None when no block ran."""
    failures: list[str]
    """Why blocks could not be measured, in order."""


class AbReport(msgspec.Struct, frozen=True):
    """Two settings, or two servers, under the same load in turns."""

    run_id: str
    made_at: str
    """ISO 8601 in UTC."""
    paceline: str
    aim: Aim
    objectives: list[Objective]
    source: str
    """The load: `trace day.csv`, or how it was generated."""
    requests: int
    """Of each side in each block."""
    block_s: float
    """What they last, about; a part of a trace is as long as it is."""
    outcome: AbOutcome
    a: Contender
    b: Contender
    ab: AbResult
    blocks: list[Block]
    ended: str
    """Why no more blocks were run."""
    seconds: float
    machine: str = ""
    seed: int = 1
    schema: str = SCHEMA


def encode(report: AbReport) -> bytes:
    """JSON, one document."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1)


def decode(document: bytes) -> AbReport:
    """Raises msgspec.DecodeError for what is no A/B report."""
    return msgspec.json.decode(document, type=AbReport)

"""Two settings against each other, block by block, until the difference is known or the blocks are used up.

Each block runs the same requests at A and at B; which goes first is decided by a fair coin for each block anew. The
coins are not balanced (A B, B A, ...): that would cancel a steady drift a little better, and the interval would
no longer hold by the coin alone (see `statistics/always_valid.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, isfinite
from statistics import median
from typing import Literal

import msgspec
import numpy as np

from paceline.base.errors import ConfigError
from paceline.tune.goal import Goal
from paceline.tune.observation import Observation
from paceline.tune.statistics.always_valid import LEVEL, MARGIN, AbTest, Change, fewest_blocks

MAX_BLOCKS = 30
_LOST_IN_A_ROW = 3
"""Blocks that both sides fail before the rest is spared: the server is down, whatever its setting."""

Runner = Callable[[], Observation]
"""Carries out one segment at its setting. What it raises is the failure of its side in this block."""
SideName = Literal["a", "b"]


class Segment(msgspec.Struct, frozen=True):
    """One side of one block."""

    score: float | None
    """As `Goal.score`; None when nothing was good, or when it failed."""
    values: dict[str, float] = {}
    """What the objectives are about."""
    failure: str | None = None


class Block(msgspec.Struct, frozen=True):
    """One segment of each side, of the same requests."""

    number: int
    first: SideName
    a: Segment
    b: Segment
    so_far: Change
    """What is known after this block."""


class Side(msgspec.Struct, frozen=True):
    """All segments of one setting."""

    score: float | None
    """The median; None without a segment that had one."""
    values: dict[str, float]
    """The median of each value that the objectives are about."""
    violation: float | None
    """Of these values (`Goal.violation`), 0 when all hold; None when there is no bound to how far they are off."""
    error_percent: float | None
    """Of the requests sent in all segments that ran; None when none did."""
    failures: list[str]
    """Of segments that did not run to their end, in order."""


class AbResult(msgspec.Struct, frozen=True):
    """What B changes against A, with every block."""

    change: Change
    a: Side
    b: Side
    blocks: list[Block]
    ended: str
    """Why no more blocks were run."""
    seed: int


class AbStopped(KeyboardInterrupt):
    """The user has stopped it, within a block or between two."""

    def __init__(self, result: AbResult) -> None:
        super().__init__()
        self.result = result
        """Of the blocks that were whole by then."""


def run_ab(  # noqa: PLR0913 - each is a choice of the user
    runner_a: Runner,
    runner_b: Runner,
    goal: Goal,
    *,
    max_blocks: int = MAX_BLOCKS,
    margin: float = MARGIN,
    level: float = LEVEL,
    seed: int = 1,
    on_block: Callable[[Block], None] | None = None,
) -> AbResult:
    """Blocks until B is better, worse or equivalent (within `margin`, a share), or `max_blocks` are done.

    Raises ConfigError when so few blocks cannot decide anything at this level, and for an aim that the runs cannot
    tell (`Goal.score`). A side that fails is out of reach in that block; when both fail three times in a row, it ends.
    A KeyboardInterrupt of a runner becomes AbStopped.
    """
    if max_blocks < fewest_blocks(level):
        raise ConfigError(
            f"max_blocks {max_blocks}: no fewer than {fewest_blocks(level)} blocks can decide at {100 * level:g} %",
            param="max_blocks",
        )
    test = AbTest(level)
    change = test.verdict(margin)
    coin = np.random.default_rng(seed)
    sides: dict[SideName, _Side] = {"a": _Side(runner_a, goal), "b": _Side(runner_b, goal)}
    blocks: list[Block] = []

    def result(ended: str) -> AbResult:
        a, b = (sides[name].summary(len(blocks)) for name in ("a", "b"))
        return AbResult(change, a, b, blocks, ended, seed)

    while (ended := _ending(change, blocks, max_blocks)) is None:
        order: tuple[SideName, SideName] = ("a", "b") if coin.integers(2) else ("b", "a")
        try:
            segments = {name: sides[name].run() for name in order}
        except KeyboardInterrupt:
            raise AbStopped(result(f"stopped by hand after {len(blocks)} blocks")) from None
        test.add(*(sides[name].log_scores[-1] for name in ("a", "b")))
        change = test.verdict(margin)
        blocks.append(Block(len(blocks) + 1, order[0], segments["a"], segments["b"], change))
        if on_block:
            on_block(blocks[-1])
    return result(ended)


def _ending(change: Change, blocks: list[Block], max_blocks: int) -> str | None:
    if change.outcome != "undecided":
        return f"{change.outcome} after {len(blocks)} blocks"
    last = blocks[-_LOST_IN_A_ROW:]
    if len(last) == _LOST_IN_A_ROW and all(each.a.score is None and each.b.score is None for each in last):
        why = last[-1].a.failure or last[-1].b.failure or "no request was good"
        return f"both sides failed {_LOST_IN_A_ROW} times in a row: {why}"
    return f"{max_blocks} blocks are used up" if len(blocks) >= max_blocks else None


class _Side:
    """Runs the segments of one setting and keeps what they showed."""

    def __init__(self, runner: Runner, goal: Goal) -> None:
        self._runner, self._goal = runner, goal
        self._segments: list[Segment] = []
        self._seen: list[Observation | None] = []
        """Of each segment; None where it failed."""
        self.log_scores: list[float] = []

    def run(self) -> Segment:
        seen = None
        try:
            seen = self._runner()
        except Exception as error:  # noqa: BLE001 - whatever stops a side is a result about that side
            segment = Segment(None, failure=str(error) or type(error).__name__)
            log_score = inf
        else:
            log_score = self._goal.log_score(seen)
            score = self._goal.score(seen) if isfinite(log_score) else None
            segment = Segment(score, _finite(self._goal.measured(seen)))
        self._segments.append(segment)
        self._seen.append(seen)
        self.log_scores.append(log_score)
        return segment

    def summary(self, blocks: int) -> Side:
        """Of the segments of the first `blocks` blocks: the last may be one that was stopped."""
        segments = self._segments[:blocks]
        seen = [each for each in self._seen[:blocks] if each is not None]
        rows = [self._goal.measured(each) for each in seen]
        names = [each.name for each in self._goal.objectives if any(each.name in row for row in rows)]
        values = {name: median(row[name] for row in rows if name in row) for name in names}
        violation = self._goal.violation(values) if rows else inf
        scores = [each.score for each in segments if each.score is not None]
        sent = sum(each.sent for each in seen)
        return Side(
            score=median(scores) if scores else None,
            values=_finite(values),
            violation=violation if isfinite(violation) else None,
            error_percent=100.0 * sum(each.failed for each in seen) / sent if sent else None,
            failures=[each.failure for each in segments if each.failure is not None],
        )


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isfinite(value)}

"""Which segments to join next: a decision that reads sizes and does nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from paceline.vectors.policy import Schema, UpkeepPolicy
from paceline.vectors.reencode import is_stale
from paceline.vectors.segment import Segment
from paceline.vectors.view import Part

_MOST_WITHOUT_GRAPH: Final = 8
"""Segments without a graph, each of which costs every search a call."""
_TAKEN_IN: Final = 8
"""Rows for each new or deleted one that are built anew with it: a tenth of a millisecond each, while nobody writes."""


def to_join_quickly(parts: Sequence[Part], policy: UpkeepPolicy) -> list[Part]:
    """While records come in: the segments that wait for a graph, to be one under a quick graph, so that few are searched.

    Of those that are large already, only ones that the others together have grown up to.
    """
    waiting = sorted((part for part in parts if _is_provisional(part)), key=lambda part: part.live)
    taken, total = list[Part](), 0
    for part in waiting:
        if total + part.live <= policy.most_rows and part.live <= max(total, policy.graph_rows):
            taken.append(part)
            total += part.live
    enough = total >= policy.graph_rows or len(taken) > _MOST_WITHOUT_GRAPH
    return [part for part in parts if part in taken] if len(taken) > 1 and enough else []


def worn_parts(parts: Sequence[Part], policy: UpkeepPolicy) -> list[Part]:
    """The segments of which so much is deleted that they are rewritten."""
    files = (part for part in parts if isinstance(part.source, Segment))
    return [part for part in files if part.gone and part.gone >= policy.dead_share * len(part.source)]


def to_join(parts: Sequence[Part], policy: UpkeepPolicy, *, everything: bool = False) -> list[Part]:
    """The segments to make one of, in the order of `parts`; none where all is well.

    Segments without a graph, or with a quick one, are joined once they have enough records for one, or are many; those
    with many deleted rows are rewritten. What is joined takes in every segment that is not much larger, so that one or few are
    left. `everything`: all that can be one segment.
    """
    files = [part for part in parts if isinstance(part.source, Segment)]
    bare = [part for part in files if _is_provisional(part)]
    worn = worn_parts(parts, policy)
    chosen = list(worn)
    enough = sum(part.live for part in bare) >= policy.graph_rows
    if (
        everything
        or enough
        or len(bare) > _MOST_WITHOUT_GRAPH
        or any(not _is_provisional(part) for part in worn)
    ):
        chosen += [part for part in bare if part not in chosen]
    if everything:
        chosen += [part for part in files if part not in chosen]
        if len(chosen) == 1 and not chosen[0].gone and (not enough or not _is_provisional(chosen[0])):
            return []
    if not chosen:
        return []
    return _grown(chosen, [part for part in files if part not in chosen], policy, parts)


def to_recode(parts: Sequence[Part], schema: Schema) -> Part | None:
    """The smallest segment that is held in another precision than the schema says; None if there is none."""
    stale = [part for part in parts if isinstance(part.source, Segment) and is_stale(part.source, schema)]
    return min(stale, key=lambda part: len(part.source), default=None)


def _grown(chosen: list[Part], others: list[Part], policy: UpkeepPolicy, parts: Sequence[Part]) -> list[Part]:
    """`chosen` with the others that are not much larger than what is new, smallest first, within `most_rows`."""
    taken, total = list[Part](), 0
    for part in sorted(chosen, key=lambda part: part.live):
        if not taken or total + part.live <= policy.most_rows:
            taken.append(part)
            total += part.live
    new = sum(part.live if _is_provisional(part) else min(part.live, part.gone) for part in taken)
    for part in sorted(others, key=lambda part: part.live):
        if part.live <= max(total, _TAKEN_IN * new) and total + part.live <= policy.most_rows:
            taken.append(part)
            total += part.live
    if len(taken) == 1 and not taken[0].gone and (total < policy.graph_rows or not _is_provisional(taken[0])):
        return []
    return [part for part in parts if part in taken]


def _is_provisional(part: Part) -> bool:
    return isinstance(part.source, Segment) and part.source.is_provisional

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


def to_join(parts: Sequence[Part], policy: UpkeepPolicy, *, everything: bool = False) -> list[Part]:
    """The segments to make one of, in the order of `parts`; none where all is well.

    Segments without a graph are joined once they have enough records for one, or are many; those with many deleted rows
    are rewritten. What is joined takes in every segment that is not larger, so that sizes double and few are left; a
    record is rewritten about as often as the collection doubled. `everything`: all that can be one segment.
    """
    files = [part for part in parts if isinstance(part.source, Segment)]
    bare = [part for part in files if _is_bare(part)]
    worn = [part for part in files if part.gone and part.gone >= policy.dead_share * len(part.source)]
    chosen = list(worn)
    enough = sum(part.live for part in bare) >= policy.graph_rows
    if everything or enough or len(bare) > _MOST_WITHOUT_GRAPH or any(not _is_bare(part) for part in worn):
        chosen += [part for part in bare if part not in chosen]
    if everything:
        chosen += [part for part in files if part not in chosen]
        if len(chosen) == 1 and not chosen[0].gone and (not enough or not _is_bare(chosen[0])):
            return []
    if not chosen:
        return []
    return _grown(chosen, [part for part in files if part not in chosen], policy, parts)


def to_recode(parts: Sequence[Part], schema: Schema) -> Part | None:
    """The smallest segment that is held in another precision than the schema says; None if there is none."""
    stale = [part for part in parts if isinstance(part.source, Segment) and is_stale(part.source, schema)]
    return min(stale, key=lambda part: len(part.source), default=None)


def _grown(chosen: list[Part], others: list[Part], policy: UpkeepPolicy, parts: Sequence[Part]) -> list[Part]:
    """`chosen` with the others that are not larger than what came together, smallest first, within `most_rows`."""
    taken, total = list[Part](), 0
    for part in sorted(chosen, key=lambda part: part.live):
        if not taken or total + part.live <= policy.most_rows:
            taken.append(part)
            total += part.live
    for part in sorted(others, key=lambda part: part.live):
        if part.live <= total and total + part.live <= policy.most_rows:
            taken.append(part)
            total += part.live
    if len(taken) == 1 and not taken[0].gone and (total < policy.graph_rows or not _is_bare(taken[0])):
        return []
    return [part for part in parts if part in taken]


def _is_bare(part: Part) -> bool:
    return isinstance(part.source, Segment) and part.source.graph is None

"""What the shards found, made one answer: `Gathered`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from paceline.vectors.record import Match
from paceline.vectors.slots import SlotMap, slot_of

T = TypeVar("T")

_NONE: Final[Mapping[str, str]] = {}


class Gathered(list[T]):
    """The matches of each query, as `Collection.query` answers, or of one by words, and what is missing."""

    def __init__(self, matches: list[T], missing: Mapping[str, str]) -> None:
        super().__init__(matches)
        self.missing = missing
        """Shards whose records were not looked at, and why."""

    @property
    def partial(self) -> bool:
        """Whether there may be better matches than these."""
        return bool(self.missing)


def missing_of(found: list[Any]) -> Mapping[str, str]:
    """Of what any `query` or `by_words` returned: the shards that were not searched, and why; one collection misses nothing."""
    return found.missing if isinstance(found, Gathered) else _NONE


def own(ask: Callable[[int], list[list[Match]]], k: int, shard: str, slots: SlotMap) -> list[list[Match]]:
    """What a shard finds among the records that are its own: while a slot moves, two shards hold copies."""
    most = k
    while True:
        found = ask(most)
        kept_of = [[match for match in one if slots.owner(slot_of(match.id)) == shard] for one in found]
        strange = max((len(one) - len(kept) for one, kept in zip(found, kept_of, strict=True)), default=0)
        full = any(len(one) == most and len(kept) < k for one, kept in zip(found, kept_of, strict=True))
        if strange == 0 or not full:
            return kept_of
        most = k + 2 * strange


def best(parts: list[list[list[Match]]], k: int) -> list[list[Match]]:
    """The best `k` of each query among those of all shards; equals by id, so that the answer is always the same."""
    return [
        sorted((match for found in one for match in found), key=lambda match: (-match.score, match.id))[:k]
        for one in zip(*parts, strict=True)
    ]

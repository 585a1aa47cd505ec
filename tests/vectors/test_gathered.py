"""Answers of shards made one."""

from __future__ import annotations

from paceline.vectors.gathered import Gathered, best, missing_of, own
from paceline.vectors.record import Match
from paceline.vectors.slots import SlotMap, slot_of


def test_the_best_of_all_come_first_and_equals_by_id() -> None:
    """So that the same question has the same answer, whichever shard was quicker."""
    parts = [[[Match("b", 0.9), Match("d", 0.1)]], [[Match("a", 0.9), Match("c", 0.5)]]]

    assert [match.id for match in best(parts, 3)[0]] == ["a", "b", "c"]
    assert best(parts, 3) == best(parts[::-1], 3)


def test_copies_that_do_not_count_take_no_place() -> None:
    """A shard is asked for more until its own fill the answer, or it has no more."""
    slots = SlotMap.of(["one", "two"])
    names = [f"v{i}" for i in range(40)]
    mine = [name for name in names if slots.owner(slot_of(name)) == "one"]
    asked: list[int] = []

    def ask(most: int) -> list[list[Match]]:
        asked.append(most)
        return [[Match(name, -i) for i, name in enumerate(names[:most])]]

    assert [match.id for match in own(ask, 5, "one", slots)[0]][:5] == mine[:5]
    assert [match.id for match in own(ask, 40, "one", slots)[0]] == mine
    assert asked[0] == 5


def test_a_plain_answer_misses_nothing() -> None:
    """And one of shards is a list like it, which tells what it misses."""
    matches = [[Match("a", 1.0)]]
    gathered = Gathered(matches, {"shard-001": "gone"})

    assert gathered == matches
    assert gathered.partial
    assert missing_of(gathered) == {"shard-001": "gone"}
    assert missing_of(matches) == {}
    assert not Gathered(matches, {}).partial

"""Slots stay where they are unless a new shard draws them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import ConfigError, StorageDamaged
from paceline.vectors.slots import SLOTS, SlotMap, slot_of

TWENTY = [f"shard-{i}" for i in range(20)]
NAMES = st.lists(st.text(alphabet="abc", min_size=1, max_size=4), min_size=1, max_size=6, unique=True)


def test_an_id_has_its_slot_for_ever() -> None:
    """These are on disks out there: the hash must not change."""
    assert [slot_of(name) for name in ("", "a", "vec-17", "\u00e4")] == [194, 543, 403, 180]


def test_ids_are_spread_evenly() -> None:
    """No slot has many more than its share."""
    counts = [0] * SLOTS
    for number in range(100 * SLOTS):
        counts[slot_of(f"id-{number}")] += 1

    assert 50 < min(counts)
    assert max(counts) < 160


@given(NAMES, NAMES)
def test_new_shards_take_slots_and_the_others_exchange_none(old: list[str], more: list[str]) -> None:
    """The property that makes adding cheap; names in another order change nothing."""
    new = [name for name in more if name not in old]
    before, after = SlotMap.of(old), SlotMap.of([*new, *reversed(old)])

    for slot in range(SLOTS):
        assert after.owner(slot) == before.owner(slot) or after.owner(slot) in new


def test_two_shards_beside_twenty_move_a_tenth() -> None:
    """Two in 22: 9 %, give or take what chance does to 1,024 slots."""
    moves = SlotMap.of(TWENTY).joined_by(["shard-20", "shard-21"]).moves()

    assert {move.target for move in moves} == {"shard-20", "shard-21"}
    assert 0.07 < len(moves) / SLOTS < 0.115


def test_moves_lead_to_the_map_of_all_shards() -> None:
    """Whatever was moved before."""
    slots = SlotMap.of(["a", "b"]).joined_by(["c"])
    for move in slots.moves():
        assert slots.owner(move.slot) == move.source
        slots = slots.after(move)

    assert slots.owners == SlotMap.of(["a", "b", "c"]).owners
    assert slots.moves() == []
    assert sorted(slot for shard in "abc" for slot in slots.slots_of(shard)) == list(range(SLOTS))


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_shards_have_names_that_differ(names: list[str]) -> None:
    """None at all, or one twice, is refused."""
    with pytest.raises(ConfigError, match="one at least"):
        SlotMap.of(names)


def test_a_map_survives_in_a_file(tmp_path: Path) -> None:
    """Written as a whole; anything else is called damaged."""
    slots = SlotMap.of(["a", "b"])
    slots.write(tmp_path / "slots.json")

    assert SlotMap.read(tmp_path / "slots.json") == slots

    (tmp_path / "slots.json").write_bytes(b'{"shards":["a"],"owners":[0]}')
    with pytest.raises(StorageDamaged, match="no map of slots"):
        SlotMap.read(tmp_path / "slots.json")

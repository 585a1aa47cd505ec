"""A dict that forgets stays within its room and keeps what was used lately."""

from hypothesis import given
from hypothesis import strategies as st

from paceline.flow.recent import Recent


def test_an_entry_outlives_its_last_use_by_the_keep_time():
    recent = Recent(max_keys=100, keep_s=10.0)
    recent.put("a", 1, now=0.0)
    recent.put("b", 2, now=9.0)
    recent.put("c", 3, now=10.0)

    assert [recent.get(key) for key in "abc"] == [1, 2, 3]


def test_an_entry_nobody_asks_for_is_gone_after_two_keep_times():
    recent = Recent(max_keys=100, keep_s=10.0)
    recent.put("a", 1, now=0.0)
    recent.put("b", 2, now=10.0)
    recent.put("c", 3, now=20.0)

    assert recent.get("a") is None
    assert len(recent) == 2


def test_clear_forgets_everything():
    recent = Recent(max_keys=100, keep_s=10.0)
    recent.put("a", 1, now=0.0)
    recent.clear()

    assert (recent.get("a"), len(recent)) == (None, 0)


@given(st.integers(2, 20), st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=200))
def test_never_holds_more_than_its_room_and_always_the_half_used_last(max_keys, steps):
    recent = Recent(max_keys, keep_s=1e9)
    used = []
    for put, key in steps:
        if put or recent.get(key) is None:
            recent.put(key, key, now=0.0)
        used = [key, *(other for other in used if other != key)][: max_keys // 2]

        assert len(recent) <= max_keys
        assert set(used) <= set(recent._young) | set(recent._old)

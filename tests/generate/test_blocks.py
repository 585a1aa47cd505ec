"""Blocks of keys and values: held, shared, idle, evicted."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.generate.blocks import BlockPool, keys_of
from paceline.generate.runner import BLOCK_TOKENS


def ids(*blocks: int) -> np.ndarray:
    """A text whose blocks are each one token repeated."""
    return np.repeat(np.array(blocks, dtype=np.int32), BLOCK_TOKENS)


def held(pool: BlockPool, text: np.ndarray) -> list[int]:
    """Blocks that a sequence of this text would hold, published."""
    keys = keys_of(text)
    found = pool.spelled(keys, text)
    pool.hold(found)
    table = [*found, *(pool.take() for _ in range(len(keys) - len(found)))]
    for index, key in enumerate(keys):
        raw = text[index * BLOCK_TOKENS : (index + 1) * BLOCK_TOKENS].tobytes()
        pool.publish(table[index], key, raw)
    return table


def test_a_text_is_spelled_by_the_blocks_of_an_earlier_one_with_the_same_beginning():
    pool = BlockPool(8)
    first = held(pool, ids(1, 2, 3))

    found = pool.spelled(keys_of(ids(1, 2, 9)), ids(1, 2, 9))

    assert found == first[:2]


def test_the_same_block_behind_another_beginning_is_another_block():
    pool = BlockPool(8)
    held(pool, ids(1, 2))

    assert pool.spelled(keys_of(ids(7, 2)), ids(7, 2)) == []


def test_tokens_are_compared_even_when_the_key_matches():
    pool = BlockPool(8)
    held(pool, ids(1))

    assert pool.spelled(keys_of(ids(1)), ids(2)) == []


def test_released_blocks_serve_again_until_room_is_needed():
    pool = BlockPool(3)
    table = held(pool, ids(1, 2, 3))
    pool.release(table)
    assert (pool.available, pool.idle) == (3, 3)

    taken = pool.take()

    assert taken == table[2]  # the end goes before the beginning
    assert pool.spelled(keys_of(ids(1, 2, 3)), ids(1, 2, 3)) == table[:2]
    assert pool.evicted_blocks_total == 1


def test_a_shared_block_is_free_when_its_last_holder_left():
    pool = BlockPool(4)
    first = held(pool, ids(1))
    second = held(pool, ids(1))
    assert first == second

    pool.release(first)
    assert pool.idle == 0
    pool.release(second)

    assert pool.idle == 1


def test_without_reuse_nothing_outlives_its_sequence():
    pool = BlockPool(4, reuse=False)
    pool.release(held(pool, ids(1, 2)))

    assert pool.spelled(keys_of(ids(1, 2)), ids(1, 2)) == []
    assert pool.idle == 0


def test_a_retracted_block_is_found_no_more():
    pool = BlockPool(4)
    table = held(pool, ids(1, 2))
    pool.retract(table[1])
    pool.release(table)

    assert pool.spelled(keys_of(ids(1, 2)), ids(1, 2)) == table[:1]
    pool.check()


def test_forgetting_empties_the_prefix_cache_and_leaves_what_is_held():
    pool = BlockPool(4)
    kept = held(pool, ids(1))
    pool.release(held(pool, ids(2, 3)))

    pool.forget_idle()

    assert (pool.idle, pool.held, pool.available) == (0, 1, 3)
    assert pool.spelled(keys_of(ids(1)), ids(1)) == kept


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hold", "release", "retract"]),
            st.lists(st.integers(0, 2), min_size=1, max_size=4),
        )
    )
)
def test_every_block_is_in_exactly_one_state(acts):
    """Whatever is held, released, or retracted in whatever order."""
    pool = BlockPool(8)
    tables: list[list[int]] = []
    for act, blocks in acts:
        text = ids(*blocks)
        if act == "hold":
            found = pool.spelled(keys_of(text), text)
            if len(blocks) - len(found) <= pool.available - pool.idle_among(found):
                tables.append(held(pool, text))
        elif tables and act == "release":
            pool.release(tables.pop(0))
        elif tables:
            pool.retract(tables[0][-1])
        pool.check()
    for table in tables:
        pool.release(table)
    pool.check()

    assert pool.available == pool.total

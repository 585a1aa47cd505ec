"""Columns keep an order; seconds add up."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from paceline.measure.records.record import COLUMNS, Columns, Second, Tokens


def row(index, intended_ns, **known):
    values = {name: known.get(name, 0) for name, _ in COLUMNS} | {"index": index, "intended_ns": intended_ns}
    return tuple(values.values())


def test_columns_carry_the_names_of_the_row():
    assert list(Columns.__slots__) == [name for name, _ in COLUMNS]


def test_columns_are_ordered_by_intended_start_then_index():
    columns = Columns.of([row(3, 20), row(2, 10), row(0, 20), row(1, 5)])

    assert columns.intended_ns == array("q", [5, 10, 20, 20])
    assert columns.index == array("I", [1, 2, 0, 3])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 5), st.integers(0, 9))))
def test_ordering_moves_whole_rows(rows):
    columns = Columns.of([row(index, at, received_bytes=size) for index, at, size in rows])

    assert list(zip(columns.intended_ns, columns.index, columns.received_bytes, strict=True)) == sorted(
        ((at, index, size) for index, at, size in rows), key=lambda found: found[:2]
    )


def test_no_rows_are_columns_of_no_length():
    assert len(Columns.empty()) == len(Columns.of([])) == len(Tokens.empty()) == 0


def test_merged_seconds_hold_what_both_counted():
    second = Second(4, 1, sent=3, done=2, failed={5: 1}, received_bytes=10, latency={7: 2}, hits=1)
    second.merge(Second(4, 1, sent=2, done=1, failed={5: 1, 8: 1}, latency={7: 1, 9: 1}, ttft={3: 1}))

    assert second == Second(
        4,
        1,
        sent=5,
        done=3,
        failed={5: 2, 8: 1},
        received_bytes=10,
        latency={7: 3, 9: 1},
        ttft={3: 1},
        hits=1,
    )


def test_a_fresh_second_counts_into_its_own_dictionaries():
    Second(0, 0).latency[1] = 1

    assert Second(0, 0).latency == {}

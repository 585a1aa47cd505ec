"""Index tensors of a batch, against a loop over its rows."""

from __future__ import annotations

import numpy as np
import torch
from batches import Row, batch_of
from hypothesis import given
from hypothesis import strategies as st

from paceline.generate.runner import BLOCK_TOKENS
from paceline.generate.torch_model.plan import make_plan, padded_span

ZERO_SLOT = 64 * BLOCK_TOKENS


@st.composite
def steps(draw: st.DrawFn) -> list[Row]:
    """Some texts, decoded or in chunks, over blocks that they may share."""
    rows = []
    for _ in range(draw(st.integers(1, 5))):
        first = draw(st.integers(0, 70))
        count = draw(st.one_of(st.just(1), st.integers(1, 40)))
        needed = -(-(first + count) // BLOCK_TOKENS)
        blocks = draw(st.lists(st.integers(0, 63), min_size=needed, max_size=needed + 2, unique=True))
        rows.append(Row([0] * count, blocks, first))
    return rows


def slot(row: Row, position: int) -> int:
    """Where a token of a text lies."""
    return row.blocks[position // BLOCK_TOKENS] * BLOCK_TOKENS + position % BLOCK_TOKENS


def seen_by_each_row(step: list[Row], window: int | None) -> list[set[int]]:
    """Slots that each row of the batch attends to."""
    return [
        {slot(row, place) for place in range(max(0, at - window + 1) if window else 0, at + 1)}
        for row in step
        for at in range(row.first, row.first + len(row.tokens))
    ]


@given(steps(), st.one_of(st.none(), st.integers(1, 50)))
def test_every_row_sees_its_own_past_and_nothing_else(step: list[Row], window: int | None) -> None:
    """Whatever the tables, the chunks and the window; what does not exist is the zero slot, behind a mask."""
    plan = make_plan(batch_of(step), window=window, zero_slot=ZERO_SLOT, device=torch.device("cpu"))
    seen: list[set[int]] = [set() for _ in plan.tokens]
    for group in plan.decodes:
        for row, slots, mask in zip(group.rows, group.slots, group.mask[:, 0, 0], strict=True):
            seen[int(row)] = set(slots[mask == 0].tolist())
            assert set(slots[mask != 0].tolist()) <= {ZERO_SLOT}
            assert len(seen[int(row)]) == int((mask == 0).sum())
    for span in plan.prefills:
        for row in range(span.start, span.stop):
            seen[row] = set(span.slots[span.mask[row - span.start]].tolist())

    assert seen == seen_by_each_row(step, window)


@given(steps())
def test_every_row_is_written_to_its_slot(step: list[Row]) -> None:
    """Position by position."""
    plan = make_plan(batch_of(step), window=None, zero_slot=ZERO_SLOT, device=torch.device("cpu"))

    assert plan.slots.tolist() == [
        slot(row, at) for row in step for at in range(row.first, row.first + len(row.tokens))
    ]


@given(st.integers(1, 1 << 20))
def test_padding_costs_a_quarter_at_most(tokens: int) -> None:
    """But for the shortest contexts, which all take 32."""
    assert tokens <= padded_span(tokens) <= max(32, tokens * 5 // 4 + 1)


def test_there_are_few_lengths() -> None:
    """Contexts of up to 8,192 tokens fall into so many groups at most."""
    assert len(np.unique([padded_span(tokens) for tokens in range(1, 8193)])) <= 33

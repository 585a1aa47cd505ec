"""The compiled draw against its twin: not nearly the same token, the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paceline.generate.draw import SPAN, Fault, Shape, draw
from paceline.generate.draw_compiled import ORDER, draw_rows

shapes = st.builds(
    Shape,
    temperature=st.sampled_from([0.0, 1e-5, 0.3, 1.0, 2.0]) | st.floats(1e-5, 2),
    top_k=st.integers(0, 40),
    top_p=st.just(1.0) | st.floats(0, 1),
    min_p=st.just(0.0) | st.floats(0, 1),
)
uniforms = st.floats(0, 1, exclude_max=True)


def compiled(logits: np.ndarray, shapes: list[Shape], uniforms: list[float]) -> list[tuple[int, Fault]]:
    """What `draw` gives for each row."""
    vocab = logits.shape[1]
    orders = np.array(
        [
            (s.scale, s.top_p, u, s.top_k, s.least_weight, -1, 0)
            for s, u in zip(shapes, uniforms, strict=True)
        ],
        ORDER,
    )
    draw_rows(
        logits,
        logits.view(np.int32),
        orders,
        np.empty(vocab, np.int32),
        np.empty(-(-vocab // SPAN), np.int64),
    )
    return [(-1 if order["fault"] else int(order["token"]), Fault(order["fault"])) for order in orders]


@given(
    st.lists(st.floats(width=32) | st.sampled_from([0.0, -0.0, 1.0, -np.inf]), min_size=1, max_size=40),
    shapes,
    uniforms,
)
@example([0.0, -0.0], Shape(temperature=0), 0.0)
@example([-0.0, 0.0], Shape(temperature=0), 0.0)
@example([-np.nan, 1.0], Shape(), 0.0)
@settings(max_examples=300, deadline=None)
def test_any_row_of_floats_gives_the_twins_token_or_fault(row: list[float], shape: Shape, uniform: float):
    logits = np.array([row], np.float32)

    assert compiled(logits, [shape], [uniform]) == [draw(logits[0], shape, uniform)]


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, SPAN - 1, SPAN, SPAN + 1, 3000]),
    st.floats(0, 12),
    st.lists(st.tuples(shapes, uniforms), min_size=1, max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_wide_rows_give_the_twins_tokens_whatever_else_is_in_the_batch(
    seed: int, vocab: int, spread: float, drawn: list[tuple[Shape, float]]
):
    random = np.random.default_rng(seed)
    logits = (random.standard_normal((len(drawn), vocab)) * spread).astype(np.float32)
    logits[random.random(logits.shape) < 0.2] = -np.inf
    logits[:, random.integers(vocab)] = 1.0
    shapes, uniforms = [shape for shape, _ in drawn], [number for _, number in drawn]

    assert compiled(logits, shapes, uniforms) == [
        draw(row, shape, number) for row, shape, number in zip(logits, shapes, uniforms, strict=True)
    ]


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])
@pytest.mark.parametrize("at", [0, SPAN - 1, SPAN, 999])
def test_one_bad_logit_anywhere_fails_its_row_alone(bad: float, at: int):
    logits = np.zeros((3, 1000), np.float32)
    logits[1, at] = bad

    faults = [fault for _, fault in compiled(logits, [Shape()] * 3, [0.5] * 3)]

    assert faults == [Fault.NONE, Fault.INFINITE if bad == np.inf else Fault.NOT_A_NUMBER, Fault.NONE]


def test_a_row_with_a_fault_is_left_alone():
    logits = np.zeros((1, 4), np.float32)
    orders = np.array([(1.0, 1.0, 0.5, 0, 1, -1, Fault.INFINITE)], ORDER)

    draw_rows(logits, logits.view(np.int32), orders, np.empty(4, np.int32), np.empty(1, np.int64))

    assert (orders["token"][0], orders["fault"][0]) == (-1, Fault.INFINITE)


def test_the_compiler_runs_once():
    """Another signature (a read-only array, another type) would cost seconds more, unnoticed."""
    compiled(np.zeros((1, 4), np.float32), [Shape()], [0.0])
    compiled(np.zeros((5, 400), np.float32), [Shape(top_p=0.5)] * 5, [0.3] * 5)

    assert len(draw_rows.signatures) == 1

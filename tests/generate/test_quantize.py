"""Weights in 8 and 4 bits."""

from __future__ import annotations

import numpy as np
import pytest

from paceline.generate.quantize import group_size, quantize_groups, quantize_rows

RNG = np.random.default_rng(3)


def test_a_row_is_off_by_half_a_step_at_most() -> None:
    """The largest value of a row spans its codes."""
    weight = RNG.normal(0, 0.3, (5000, 40)).astype(np.float32)
    codes, scales = quantize_rows(weight)

    assert codes.dtype == np.int8
    assert (np.abs(codes).max(axis=1) == 127).all()
    assert (np.abs(codes * scales[:, None] - weight) <= scales[:, None] * 0.5001).all()


def test_a_row_of_zeros() -> None:
    """Has codes of zero and a scale that can be divided by."""
    codes, scales = quantize_rows(np.zeros((1, 4), np.float32))

    assert codes.tolist() == [[0, 0, 0, 0]]
    assert scales.tolist() == [1.0]


def test_a_group_is_off_by_half_a_step_and_what_bf16_cannot_say() -> None:
    """Codes run from the group's smallest to its largest value."""
    weight = RNG.normal(0, 0.3, (7, 128)).astype(np.float32)
    codes, scales, middles = quantize_groups(weight, 64)
    wide = codes.reshape(7, 2, 64).astype(np.float32) - 8
    back = (wide * scales[:, :, None] + middles[:, :, None]).reshape(7, 128)

    assert (codes.min(), codes.max()) == (0, 15)
    assert scales.shape == middles.shape == (7, 2)
    assert (np.abs(back - weight) <= np.repeat(scales, 64, axis=1) * 0.6).all()


@pytest.mark.parametrize("numbers", ["scales", "middles"])
def test_groups_are_described_in_bf16(numbers: str) -> None:
    """What the kernels keep is what the codes were rounded to."""
    _, scales, middles = quantize_groups(RNG.normal(0, 1, (4, 64)).astype(np.float32), 32)
    array = scales if numbers == "scales" else middles

    assert (array.view(np.uint32) & 0xFFFF == 0).all()


@pytest.mark.parametrize(("inputs", "group"), [(4096, 128), (960, 64), (96, 32), (100, None)])
def test_the_largest_group_that_fits_is_taken(inputs: int, group: int | None) -> None:
    """Rows that no group divides stay in 8 bits."""
    assert group_size(inputs) == group

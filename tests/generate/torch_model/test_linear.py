"""Linear layers against float products of what they stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from paceline.generate.quantize import quantize_groups, quantize_rows
from paceline.generate.torch_model.linear import (
    INT8_CHUNK_ROWS,
    FloatLinear,
    Int4Linear,
    Int8Linear,
    PackedBf16Linear,
    int8_bytes,
)

RNG = np.random.default_rng(1)
WEIGHT = RNG.normal(0, 0.1, (75, 96)).astype(np.float32)
ROWS = RNG.normal(0, 1, (2 * INT8_CHUNK_ROWS + 3, 96)).astype(np.float32)
ROWS *= np.exp(RNG.normal(0, 2, (len(ROWS), 1))).astype(np.float32)  # of very different sizes


def test_fp32() -> None:
    """The plain product."""
    got = FloatLinear(torch.from_numpy(WEIGHT))(torch.from_numpy(ROWS))

    np.testing.assert_allclose(got.numpy(), ROWS @ WEIGHT.T, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not PackedBf16Linear.is_available(), reason="no bf16 arithmetic here")
def test_packed_bf16() -> None:
    """Sums in fp32 of products of bf16, rounded at the end."""
    half = torch.from_numpy(WEIGHT).to(torch.bfloat16)
    x = torch.from_numpy(ROWS)
    expected = x.to(torch.bfloat16).double() @ half.double().T

    torch.testing.assert_close(
        PackedBf16Linear(half)(x).double(), expected, rtol=2**-8, atol=float(expected.abs().max()) * 1e-5
    )


def test_int8_sums_whole_numbers_exactly() -> None:
    """Codes of the activations by hand, integer sums, two scales: the layer differs by float rounding only."""
    codes, scales = quantize_rows(WEIGHT)
    layer = Int8Linear(codes, scales)
    levels = layer._levels
    step = np.abs(ROWS).max(axis=1, keepdims=True) / np.float32(levels)
    sums = np.rint(ROWS / step).astype(np.int64) @ codes.T.astype(np.int64)

    np.testing.assert_allclose(layer(torch.from_numpy(ROWS)).numpy(), sums * step * scales, rtol=1e-6)
    assert layer.nbytes == int8_bytes(75, 96) == 75 * 96 + 75 * 8


@pytest.mark.parametrize("rows", [1, 2, 7, INT8_CHUNK_ROWS, INT8_CHUNK_ROWS + 1])
def test_int8_rows_are_alone_in_any_company(rows: int) -> None:
    """Bit for bit."""
    layer = Int8Linear(*quantize_rows(WEIGHT))
    x = torch.from_numpy(ROWS)

    assert torch.equal(layer(x[:rows]), layer(x)[:rows])


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_an_odd_row_stays_one_row(value: float) -> None:
    """NaN and infinity leave nothing finite in their own row, zeros make zeros."""
    layer = Int8Linear(*quantize_rows(WEIGHT))
    rows = ROWS[:3].copy()
    rows[1] = value
    got = layer(torch.from_numpy(rows))

    assert torch.equal(got[::2], layer(torch.from_numpy(ROWS[:3]))[::2])
    assert bool((got[1] == 0.0).all() if value == 0.0 else not got[1].isfinite().any())


@pytest.mark.skipif(not Int4Linear.is_available(), reason="this torch has no int4 kernels")
@pytest.mark.parametrize("outputs", [75, 80])
def test_int4_is_the_product_of_its_codes(outputs: int) -> None:
    """Outputs that are no multiple of 16 included."""
    weight = RNG.normal(0, 0.1, (outputs, 96)).astype(np.float32)
    codes, scales, middles = quantize_groups(weight, 32)
    wide = codes.reshape(outputs, 3, 32).astype(np.float32) - 8
    stored = (wide * scales[:, :, None] + middles[:, :, None]).reshape(outputs, 96)
    x = torch.from_numpy(ROWS[:9]).to(torch.bfloat16).float()
    expected = x @ torch.from_numpy(stored).T
    got = Int4Linear(codes, scales, middles)(x)

    assert got.shape == (9, outputs)
    assert float((got - expected).abs().max() / expected.abs().max()) < 0.01

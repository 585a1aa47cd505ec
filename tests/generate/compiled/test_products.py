"""The micro-kernels against plain numpy: the same integers, and sums in a stated order."""

import numpy as np
import pytest

from paceline.generate.compiled.crew import control_block
from paceline.generate.compiled.layout import aligned
from paceline.generate.compiled.packing import NUMBER_BYTES, bfloat16_bits, interleave, pack
from paceline.generate.compiled.products import ADD, GATE, STORE, TILE_BYTES, product
from paceline.generate.compiled.rows import BF16, FLOAT, INT8, make_input
from paceline.generate.compiled.tiles import PANEL, ROW_TRAILER
from paceline.generate.quantize import quantize_rows

KINDS = {"int8": INT8, "bf16": BF16, "fp32": FLOAT}


def multiplied(rows, matrix, precision, after=STORE, before=None, bias=None):
    """Rows (m, k) times a matrix (n, k) by the kernels, as one thread does it; n in whole panels."""
    columns, values = matrix.shape
    kind = KINDS[precision]
    size = values * NUMBER_BYTES[precision] + ROW_TRAILER
    inputs, scratch = aligned(size * len(rows)), aligned(TILE_BYTES)
    for number, row in enumerate(rows):
        make_input(kind, row.ctypes.data, values, inputs.ctypes.data + number * size)
    packed, scales = pack(matrix, precision)
    weights = aligned(packed.nbytes)
    weights[:] = packed.view(np.uint8)
    width = columns // 2 if after == GATE else columns
    out = np.zeros((len(rows), width), np.float32) if before is None else before.copy()
    product(
        control_block().ctypes.data,
        0,
        kind,
        len(rows),
        inputs.ctypes.data,
        values,
        weights.ctypes.data,
        scales.ctypes.data,
        columns,
        np.int64(0 if bias is None else bias.ctypes.data),
        after,
        out.ctypes.data,
        4 * width,
        scratch.ctypes.data,
    )
    return out


def plain_int8(rows, matrix):
    """The same arithmetic in numpy: codes times codes in integers, then the two scales."""
    codes, scales = quantize_rows(matrix)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    row_scales = np.where(largest > 0, largest / np.float32(127), np.float32(1)).astype(np.float32)
    row_codes = np.rint(rows * (np.float32(1) / row_scales)).astype(np.int32)
    sums = (row_codes @ codes.T.astype(np.int32)).astype(np.float32)
    return sums * row_scales * scales


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 2, 13, 14, 15, 29, 64])
def test_int8_is_its_plain_twin_to_the_bit(rows):
    """Whatever the number of rows: tiles of every size, several panels."""
    x, w = numbers(rows, 112), numbers(3 * PANEL, 112, seed=1)
    x[0] = 0  # a row of zeros has scale 1

    assert np.array_equal(multiplied(x, w, "int8"), plain_int8(x, w))


def test_int8_holds_the_largest_sums():
    """All codes at their ends: 4,096 times 127 * 127 is within an int32, with the offset on the way."""
    x, w = np.full((2, 4096), 3, np.float32), np.full((PANEL, 4096), -2, np.float32)
    x[1] = -3

    assert np.array_equal(multiplied(x, w, "int8"), plain_int8(x, w))


def test_fp32_adds_in_the_order_of_the_inputs():
    """One rounding for each product added, as a loop over the inputs in twice the precision rounds it."""
    x, w = numbers(3, 48), numbers(PANEL, 48, seed=1)
    expected = np.zeros((3, PANEL), np.float32)
    for k in range(48):
        exact = x[:, k, None].astype(np.float64) * w[:, k].astype(np.float64)
        expected = (expected.astype(np.float64) + exact).astype(np.float32)

    assert np.array_equal(multiplied(x, w, "fp32"), expected)


def test_bf16_is_the_product_of_what_bf16_can_hold():
    """To the rounding of float32 sums."""
    x, w = numbers(5, 256), numbers(2 * PANEL, 256, seed=1)
    rounded = [(bfloat16_bits(part).astype(np.uint32) << 16).view(np.float32) for part in (x, w)]

    assert np.allclose(multiplied(x, w, "bf16"), rounded[0] @ rounded[1].T, atol=2e-5)


@pytest.mark.parametrize("precision", KINDS)
def test_sums_can_be_added_or_gated(precision):
    """With a bias, into a residual, or as silu(gate) * up of interleaved columns."""
    x, w, bias = numbers(4, 64), numbers(2 * PANEL, 64, seed=1), numbers(2 * PANEL, seed=2)
    before = numbers(4, 2 * PANEL, seed=3)
    plain = multiplied(x, w, precision)
    gate, up = plain[:, :PANEL], plain[:, PANEL:]
    gated = multiplied(x, interleave(w[:PANEL], w[PANEL:]), precision, GATE)

    assert np.array_equal(multiplied(x, w, precision, bias=bias), plain + bias)
    assert np.array_equal(multiplied(x, w, precision, ADD, before), before + plain)
    assert np.allclose(gated, gate / (1 + np.exp(-gate)) * up, rtol=1e-5, atol=1e-5)


def test_gates_far_from_zero_stay_finite():
    """silu of -1,000 is 0, of 1,000 itself."""
    x = np.eye(16, dtype=np.float32)[:1]
    gate, up = np.zeros((16, 16), np.float32), np.ones((16, 16), np.float32)
    gate[:3, 0] = -1000, 1000, 0
    out = multiplied(x, interleave(gate, up), "fp32", GATE)

    assert out[0, :3].tolist() == pytest.approx([0, 1000, 0], abs=1e-30)

"""Dot products are the same on every kind of processor; those of bytes and bits are exact."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.vectors.compiled import instructions

CHECK = """
import numpy as np
from paceline.vectors.codes import PRECISIONS, Coded, Coder
from paceline.vectors.compiled.instructions import BYTES_STEP
from paceline.vectors.exact import ExactSearch
vectors = np.random.default_rng(1).standard_normal((200, 100)).astype(np.float32)
for precision in PRECISIONS:
    coded = Coded.of(Coder.learn(vectors, precision), vectors)
    ids, found = ExactSearch(coded).search(vectors[:5], 10)
    expected = np.take_along_axis(coded.coder.scores(vectors[:5], coded.rows), ids, 1)
    np.testing.assert_allclose(found, expected, atol=1e-3)
print(BYTES_STEP)
"""


def dot_of(name: str) -> Any:
    dot = getattr(instructions, name)

    @numba.njit
    def call(row: np.ndarray, query: np.ndarray, blocks: int) -> Any:
        return dot(row.ctypes.data, query.ctypes.data, blocks)

    return call


DOTS = {name: dot_of(name) for name in ("dot_int8", "dot_bits", "dot_fp16", "dot_bf16", "dot_fp32")}


@numba.njit
def four_dots(rows: np.ndarray, query: np.ndarray, blocks: int, out: np.ndarray) -> None:
    first, stride = rows.ctypes.data, rows.shape[1]
    four = (first, first + stride, first + 2 * stride, first + 3 * stride)
    instructions.four_dots_int8(four, query.ctypes.data, blocks, out.ctypes.data)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10_000))
def test_four_rows_at_once_are_summed_exactly(blocks: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, 256, (4, 64 * blocks)).astype(np.uint8)
    query = draw.integers(-127, 128, 64 * blocks).astype(np.int8)
    out = np.zeros(4, np.int32)

    four_dots(codes, query, blocks, out)

    np.testing.assert_array_equal(out, codes.astype(np.int64) @ query)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10_000))
def test_bytes_and_bits_are_summed_exactly(blocks: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, 256, 64 * blocks).astype(np.uint8)
    bits = draw.integers(0, 2, 64 * blocks).astype(np.uint8)
    query = draw.integers(-127, 128, 64 * blocks).astype(np.int8)

    assert DOTS["dot_int8"](codes, query, blocks) == codes.astype(np.int64) @ query
    assert (
        DOTS["dot_bits"](np.packbits(bits, bitorder="little"), query, blocks) == bits.astype(np.int64) @ query
    )


def test_the_largest_bytes_do_not_overflow() -> None:
    codes, query = np.full(64 * 64, 255, np.uint8), np.full(64 * 64, -127, np.int8)

    assert DOTS["dot_int8"](codes, query, 64) == -127 * 255 * 64 * 64


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10_000))
def test_floats_are_widened_and_summed(blocks: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    row, query = draw.standard_normal((2, 64 * blocks)).astype(np.float32)
    half = row.astype(np.float16)
    brain = (row.view(np.uint32) >> 16).astype(np.uint16)

    for name, given_row, widened in (
        ("dot_fp32", row, row),
        ("dot_fp16", half, half.astype(np.float32)),
        ("dot_bf16", brain, (brain.astype(np.uint32) << 16).view(np.float32)),
    ):
        assert DOTS[name](given_row.view(np.uint8), query, blocks) == pytest.approx(widened @ query, abs=1e-4)


@pytest.mark.slow
@pytest.mark.skipif("avx2" not in instructions.FEATURES, reason="the processor has no AVX2")
@pytest.mark.parametrize(
    ("features", "expected"), [("+avx2,+fma,+f16c,+avx,+sse4.2", "pairs256"), ("+f16c,+avx,+sse4.2", "plain")]
)
def test_other_processors_give_the_same_scores(features: str, expected: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "NUMBA_CPU_NAME": "x86-64",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }

    ran = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, check=False
    )

    assert (ran.stdout.strip(), ran.returncode) == (expected, 0), ran.stderr

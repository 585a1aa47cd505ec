"""How vectors are held: float32, float16, bfloat16, bytes with a learned scale, or one bit a dimension.

A row is the codes of one vector in whole blocks of 64 elements, then up to two float32 factors, then zeros to a whole
cache line:

    fp32, fp16, bf16   the numbers
    int8               unsigned bytes: number = offset + step * byte, between quantiles of the sample
    binary             signs of the rotated distance to the centre (RaBitQ, Gao and Long 2024), and the factor that
                       makes of an agreement of signs an unbiased inner product

and under `l2` minus the squared length of what the row decodes to. A score of codes is that of the query with the
decoded vector; candidates are re-scored on a second, finer copy.
"""

from __future__ import annotations

from typing import Any, Final, Literal, Self, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.compiled import records as of
from paceline.vectors.metric import Floats, Metric, checked, entered, normalised

Precision = Literal["fp32", "fp16", "bf16", "int8", "binary"]
Rows = NDArray[np.uint8]

PRECISIONS: Final = get_args(Precision)
SHARE_CUT: Final = 0.00005
"""Share of a sample's numbers beyond each end of the int8 range, where they are cut. Of the ten nearest of 100,000 real
| clustered vectors int8 alone keeps 0.977 | 0.983 with 0.001, 0.990 | 0.995 with this, 0.988 | 0.992 with 0, and 0.992 |
0.992 with a range a dimension, which an outlying dimension spoils."""
_LINE: Final = 64
_ENCODED_AT_ONCE: Final = 8192
_BITS: Final = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "binary": 1}


def aligned_rows(count: int, row_bytes: int) -> Rows:
    """Zeros (count, row_bytes) that start at a cache line."""
    memory = np.zeros(count * row_bytes + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + count * row_bytes].reshape(count, row_bytes)


def _rotation(dimensions: int, seed: int) -> Floats:
    """A random rotation (d, d), the same for the same seed."""
    draw = np.random.default_rng(seed).standard_normal((dimensions, dimensions))
    q, r = np.linalg.qr(draw)
    return (q * np.sign(np.diag(r))).astype(np.float32)


class CoderShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a coder is, without its arrays: the part of it that is written as JSON."""

    precision: Precision
    metric: Metric
    dimensions: int


def row_bytes_of(shape: CoderShape) -> int:
    """Bytes of a row: blocks, factors, and zeros to a whole cache line."""
    blocks = -(-shape.dimensions // of.BLOCK)
    factors = 4 * ((shape.precision == "binary") + (shape.metric == "l2"))
    return -(-(blocks * of.BLOCK * _BITS[shape.precision] // 8 + factors) // _LINE) * _LINE


class Coder(msgspec.Struct, frozen=True, eq=False):
    """Makes rows of vectors, with parameters learned from a sample."""

    shape: CoderShape
    offset: (
        Floats  # (d,) int8: the number of code 0; binary: the rotated centre under cosine and dot, else zeros
    )
    step: Floats  # (d,) int8: what one code more adds; otherwise ones
    rotation: Floats  # (d, d) binary; otherwise (0, 0)
    centre: Floats  # (d,) binary: mean of the sample; otherwise (0,)

    @classmethod
    def learn(cls, sample: Any, precision: Precision, metric: Metric = "cosine", *, seed: int = 1) -> Self:
        """A coder for vectors like those of `sample` (n, d), n >= 1; some thousands are enough."""
        if precision not in PRECISIONS:
            raise ConfigError(f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
        vectors = entered(sample, metric)
        if len(vectors) == 0:
            raise InvalidRequest("a coder learns from at least one vector; the sample is empty")
        dimensions = vectors.shape[1]
        shape = CoderShape(precision, metric, dimensions)
        zeros, ones, none = (
            np.zeros(dimensions, np.float32),
            np.ones(dimensions, np.float32),
            np.zeros(0, np.float32),
        )
        if precision == "int8":
            low, high = np.quantile(vectors, [SHARE_CUT, 1 - SHARE_CUT])
            step = max((high - low) / 255, np.finfo(np.float32).tiny)
            return cls(shape, np.full_like(zeros, low), np.full_like(ones, step), none.reshape(0, 0), none)
        if precision == "binary":
            rotation, centre = _rotation(dimensions, seed), vectors.mean(axis=0)
            return cls(shape, zeros if metric == "l2" else rotation @ centre, ones, rotation, centre)
        return cls(shape, zeros, ones, none.reshape(0, 0), none)

    @classmethod
    def from_parts(cls, shape: CoderShape, arrays: dict[str, Floats]) -> Self:
        """The coder of which `shape` and `arrays` were kept."""
        return cls(shape, **arrays)

    def arrays(self) -> dict[str, Floats]:
        """What `from_parts` needs beside the shape."""
        return {name: getattr(self, name) for name in ("offset", "step", "rotation", "centre")}

    @property
    def blocks(self) -> int:
        """Blocks of 64 elements in a row."""
        return -(-self.shape.dimensions // of.BLOCK)

    @property
    def factors_at(self) -> int:
        """Place of the factors in a row, in bytes."""
        return self.blocks * of.BLOCK * _BITS[self.shape.precision] // 8

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return row_bytes_of(self.shape)

    def encode(self, vectors: Any) -> Rows:
        """Rows (n, row_bytes) of vectors (n, d)."""
        given = checked(vectors, self.shape.dimensions)
        rows = aligned_rows(len(given), self.row_bytes)
        for start in range(0, len(given), _ENCODED_AT_ONCE):
            part = slice(start, start + _ENCODED_AT_ONCE)
            self._encode(entered(given[part], self.shape.metric), rows[part])
        return rows

    def _encode(self, vectors: Floats, rows: Rows) -> None:
        dimensions, at = self.shape.dimensions, self.factors_at
        match self.shape.precision:
            case "fp32":
                rows[:, : 4 * dimensions] = vectors.view(np.uint8)
            case "fp16":
                with np.errstate(over="raise"):
                    try:
                        rows[:, : 2 * dimensions] = vectors.astype(np.float16).view(np.uint8)
                    except FloatingPointError:
                        raise InvalidRequest(
                            f"a vector holds {np.abs(vectors).max():g}, above 65504 of fp16; use bf16 or fp32"
                        ) from None
            case "bf16":  # to nearest, ties to even: the carry runs into the bits that are kept
                bits = vectors.view(np.uint32)
                short = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
                rows[:, : 2 * dimensions] = short.view(np.uint8)
            case "int8":
                rows[:, :dimensions] = np.clip(np.rint((vectors - self.offset) / self.step), 0, 255)
            case "binary":
                beside = vectors - self.centre
                turned = beside @ self.rotation.T
                signs = np.packbits(turned >= 0, axis=1, bitorder="little")
                rows[:, : signs.shape[1]] = signs
                square = np.einsum("nd,nd->n", beside, beside)
                agreement = np.abs(turned).sum(axis=1)
                factor = np.divide(square, agreement, out=np.zeros_like(square), where=agreement > 0)
                rows[:, at : at + 4] = factor.astype(np.float32)[:, None].view(np.uint8)
                if self.shape.metric == "l2":
                    rows[:, at + 4 : at + 8] = -square.astype(np.float32)[:, None].view(np.uint8)
                return
        if self.shape.metric == "l2":
            decoded = self.decode(rows)
            squares = -np.einsum("nd,nd->n", decoded, decoded)
            rows[:, at : at + 4] = squares.astype(np.float32)[:, None].view(np.uint8)

    def decode(self, rows: Rows) -> Floats:
        """Vectors (n, d), near those that were encoded."""
        dimensions = self.shape.dimensions
        match self.shape.precision:
            case "fp32":
                return np.ascontiguousarray(rows[:, : 4 * dimensions]).view(np.float32)
            case "fp16":
                return np.ascontiguousarray(rows[:, : 2 * dimensions]).view(np.float16).astype(np.float32)
            case "bf16":
                short = np.ascontiguousarray(rows[:, : 2 * dimensions]).view(np.uint16)
                return (short.astype(np.uint32) << 16).view(np.float32)
            case "int8":
                numbers: Floats = self.offset + self.step * rows[:, :dimensions].astype(np.float32)
                return numbers
            case "binary":
                signs = self._signs(rows) * self._factor(rows, 0)[:, None]
                return self.centre + np.asarray(signs @ self.rotation, np.float32)

    def _signs(self, rows: Rows) -> Floats:
        """-1 and 1 (n, d) of binary rows."""
        dimensions = self.shape.dimensions
        bits = np.unpackbits(rows[:, : -(-dimensions // 8)], axis=1, count=dimensions, bitorder="little")
        return bits.astype(np.float32) * 2 - 1

    def _factor(self, rows: Rows, which: int) -> Floats:
        at = self.factors_at + 4 * which
        return np.ascontiguousarray(rows[:, at : at + 4]).view(np.float32)[:, 0]

    def turned(self, queries: Floats) -> Floats:
        """Checked queries (q, d) as rows want them: rotated for binary, otherwise as they are."""
        if self.shape.precision != "binary":
            return queries
        if self.shape.metric == "cosine":
            queries = normalised(queries)
        if self.shape.metric == "l2":
            queries = queries - self.centre
        return np.ascontiguousarray(queries @ self.rotation.T)

    def scores(self, queries: Any, rows: Rows) -> Floats:
        """Scores (q, n) of rows for queries (q, d): the plain twin of the compiled scorer, rounding of queries included."""
        given = checked(queries, self.shape.dimensions)
        asked = self.turned(normalised(given) if self.shape.metric == "cosine" else given).astype(np.float64)
        squares = np.einsum("qd,qd->q", asked, asked)[:, None]
        match self.shape.precision:
            case "int8" | "binary":
                weights = asked * self.step
                scale = np.abs(weights).max(axis=1, keepdims=True) / 127
                scale[scale == 0] = 1
                whole = np.rint(weights / scale)
                middle = of.MIDDLE if self.shape.precision == "int8" else 0
                constant = asked @ (self.offset + middle * self.step.astype(np.float64))
                codes = (
                    self._signs(rows)
                    if middle == 0
                    else rows[:, : self.shape.dimensions].astype(np.float64) - middle
                )
                product = scale * (whole @ codes.T.astype(np.float64))
                if middle == 0:
                    product *= self._factor(rows, 0)
                product += constant[:, None]
            case _:
                product = asked @ self.decode(rows).T.astype(np.float64)
        if self.shape.metric == "l2":
            product = 2 * product + self._factor(rows, self.shape.precision == "binary") - squares
        scores: Floats = product.astype(np.float32)
        return scores


class Coded(msgspec.Struct, frozen=True, eq=False):
    """Rows and the coder that made them; the rows may be a memory map."""

    coder: Coder
    rows: Rows  # (n, row_bytes), C-contiguous

    @classmethod
    def of(cls, coder: Coder, vectors: Any) -> Self:
        """Encode `vectors` (n, d)."""
        return cls(coder, coder.encode(vectors))

    def __len__(self) -> int:
        return len(self.rows)

    def side(self) -> NDArray[np.int64]:
        """The record by which compiled functions know the rows; holds addresses, so keep `self` as long."""
        coder, shape = self.coder, self.coder.shape
        side = np.zeros(of.SIDE, np.int64)
        side[of.KIND] = PRECISIONS.index(shape.precision)
        side[of.BLOCKS], side[of.DIMENSIONS] = coder.blocks, shape.dimensions
        side[of.ROWS], side[of.STRIDE] = self.rows.ctypes.data, coder.row_bytes
        side[of.FACTORS] = coder.factors_at
        side[of.SCALED], side[of.SHIFTED] = shape.precision == "binary", shape.metric == "l2"
        side[of.SQUARED], side[of.UNIT] = shape.metric == "l2", shape.metric == "cosine"
        side[of.OFFSET], side[of.STEP] = coder.offset.ctypes.data, coder.step.ctypes.data
        return side

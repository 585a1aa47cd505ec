"""What "near" means. A score is always better when higher.

`cosine`: the cosine, -1 to 1; `dot`: the inner product; `l2`: minus the squared Euclidean distance, 0 at best. Vectors
and queries under `cosine` are normalised on the way in, so that it is the inner product from there on.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import InvalidRequest

Metric = Literal["cosine", "dot", "l2"]
Floats = NDArray[np.float32]


def checked(vectors: Any, dimensions: int | None = None) -> Floats:
    """`vectors` as a C-contiguous float32 array (n, d) of finite numbers; a single vector becomes (1, d).

    InvalidRequest names the first row at fault.
    """
    rows: Floats = np.ascontiguousarray(vectors, np.float32)
    if rows.ndim == 1:
        rows = rows[None, :]
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InvalidRequest(f"vectors have shape {rows.shape}; send (count, dimensions)")
    if dimensions is not None and rows.shape[1] != dimensions:
        raise InvalidRequest(
            f"vectors have {rows.shape[1]} dimensions, the index has {dimensions}; embed them with the index's model"
        )
    if not np.isfinite(rows).all():
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        raise InvalidRequest(f"vector {bad[0]} holds NaN or an infinity; send finite numbers")
    return rows


def is_one_sound(vector: Any, dimensions: int) -> bool:
    """Whether it is one vector (d,) or (1, d) as `checked` would return it, and not all zeros.

    In a microsecond, of what nearly every query is; False says nothing.
    """
    return (
        type(vector) is np.ndarray
        and vector.dtype == np.float32
        and vector.shape in {(dimensions,), (1, dimensions)}
        and vector.flags.carray  # in one piece, aligned, writable: read-only arrays would be compiled for anew
        and 0 < float((numbers := vector.ravel()).dot(numbers)) < np.inf  # in less time than np.vdot
    )


def normalised(vectors: Floats) -> Floats:
    """Rows of length one. InvalidRequest on a row of zeros: it has no direction."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    if not lengths.all():
        row = int(np.flatnonzero(lengths == 0)[0])
        raise InvalidRequest(
            f"vector {row} is all zeros, which has no cosine; send another or use the metric dot"
        )
    unit: Floats = (vectors / lengths[:, None]).astype(np.float32)
    return unit


def entered(vectors: Any, metric: Metric, dimensions: int | None = None) -> Floats:
    """Checked, and normalised where the metric wants it: what is stored."""
    rows = checked(vectors, dimensions)
    return normalised(rows) if metric == "cosine" else rows


def scores(queries: Floats, vectors: Floats, metric: Metric) -> Floats:
    """Scores (q, n) of entered vectors (n, d) for entered queries (q, d): one matrix product."""
    product: Floats = queries @ vectors.T
    if metric != "l2":
        return product
    product *= 2
    product -= np.einsum("nd,nd->n", vectors, vectors)[None, :]
    product -= np.einsum("nd,nd->n", queries, queries)[:, None]
    np.minimum(product, np.float32(0.0), out=product)
    return product

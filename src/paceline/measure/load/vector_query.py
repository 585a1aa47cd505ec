"""Queries of a collection of vectors: made of the rows of a `.npy` file, and moved a little so that no cache knows them."""

from __future__ import annotations

import ast
import binascii
import struct
from functools import lru_cache
from random import Random
from typing import Any, Final

import msgspec

from paceline.base.errors import ConfigError

MAGIC: Final = b"\x93NUMPY"
TOP_K: Final = 10
MOST_ROWS: Final = 10_000
"""Of a file, the first ones: a run keeps every body in memory."""
MOVED: Final = 1e-4
"""Of each number at most: far beyond what a cache rounds away, far below what changes who is near."""
_FORMATS: Final = {"<f2": "e", "<f4": "f", "<f8": "d"}


def query_bodies(content: bytes, name: str) -> list[bytes]:
    """A query for `TOP_K` neighbours of each row of numbers (rows, dimensions), little-endian float16, 32 or 64.

    Raises ConfigError, beginning with `name`, for an array of another kind.
    """
    start = 12 if content[6:7] > b"\x01" else 10
    length = int.from_bytes(content[8:start], "little")
    try:
        header = ast.literal_eval(content[start : start + length].decode("latin-1").strip())
        kind, shape = _FORMATS[header["descr"]], header["shape"]
        rows, dimensions = shape
    except (SyntaxError, ValueError, LookupError, TypeError):
        kind = ""
        header = {"fortran_order": True}
    if header["fortran_order"] or not kind or rows < 1 or dimensions < 1:
        raise ConfigError(
            f"{name} holds no rows of float32; save queries as an array (queries, dimensions) of float32",
            param="payload.body_file",
        )
    row = struct.Struct(f"<{dimensions}{kind}")
    begin = start + length
    if len(content) < begin + rows * row.size:
        raise ConfigError(f"{name} ends within its rows; save it again", param="payload.body_file")
    return [
        msgspec.json.encode(
            {"vector": _packed(row.unpack_from(content, begin + at * row.size)), "topK": TOP_K}
        )
        for at in range(min(rows, MOST_ROWS))
    ]


def moved(fields: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The query with each number a little off, by an amount that `prefix` alone decides.

    One without `vector` (by id, by words) stays as it is, as does what is no vector: the server says so.
    """
    vector = fields.get("vector")
    if isinstance(vector, str):
        try:
            octets = binascii.a2b_base64(vector)
            numbers = struct.unpack(f"<{len(octets) // 4}f", octets)
        except (ValueError, struct.error):
            return fields
        return fields | {"vector": _packed(_off(numbers, prefix))}
    if isinstance(vector, list) and all(isinstance(number, int | float) for number in vector):
        return fields | {"vector": _off(vector, prefix)}
    return fields


def _off(numbers: list[float] | tuple[float, ...], prefix: str) -> list[float]:
    return [number * factor for number, factor in zip(numbers, _factors(prefix, len(numbers)), strict=True)]


@lru_cache(maxsize=4)
def _factors(prefix: str, count: int) -> list[float]:
    draw = Random(f"{prefix}/vectors")  # noqa: S311 - repeatable, no secret
    return [1.0 + draw.uniform(-MOVED, MOVED) for _ in range(count)]


def _packed(numbers: list[float] | tuple[float, ...]) -> str:
    """Base64 of little-endian float32."""
    return binascii.b2a_base64(struct.pack(f"<{len(numbers)}f", *numbers), newline=False).decode()

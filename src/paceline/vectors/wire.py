"""Vectors and results as they travel (`base.vectors_api`), and as collections take and give them."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from paceline.base.errors import InvalidRequest
from paceline.base.vectors_message import Values
from paceline.base.vectors_records import Fetched, Matched, Queried, VectorItem
from paceline.vectors.metric import Floats, Metric
from paceline.vectors.policy import Schema
from paceline.vectors.record import Match, Record

METRICS: Final[Mapping[str, Metric]] = {
    "cosine": "cosine",
    "dot": "dot",
    "dotproduct": "dot",
    "l2": "l2",
    "euclidean": "l2",
}
"""By the names that callers may use; ours and Pinecone's."""


def numbers_of(values: Values, param: str) -> Floats:
    """The vector (d,) of a list, or of base64 of little-endian float32. InvalidRequest names `param`."""
    if isinstance(values, str):
        try:
            octets = binascii.a2b_base64(values, strict_mode=True)
        except ValueError as error:
            raise InvalidRequest(
                f"{param} is no base64 ({error}); send it of little-endian float32, or a list of numbers",
                param=param,
            ) from None
        if len(octets) % 4:
            raise InvalidRequest(
                f"{param} has {len(octets)} bytes; float32 numbers have four each, little-endian", param=param
            )
        return np.frombuffer(octets, "<f4").astype(
            np.float32
        )  # of its own: arrays that cannot be written are slower
    try:
        octets = _packing(len(values)).pack(*values)  # a third of the time numpy needs for a list
    except OverflowError:
        raise InvalidRequest(f"{param} holds a number too large for float32; scale it", param=param) from None
    except (TypeError, struct.error) as error:
        raise InvalidRequest(f"{param} is no list of numbers ({error})", param=param) from None
    return np.frombuffer(bytearray(octets), np.float32)


@lru_cache(maxsize=16)
def _packing(count: int) -> struct.Struct:
    return struct.Struct(f"={count}f")


def vector_of(values: Values, schema: Schema, param: str) -> Floats:
    """The vector (d,) if a collection of `schema` takes it. InvalidRequest names `param`."""
    numbers = numbers_of(values, param)
    if numbers.shape != (schema.dimensions,):
        raise InvalidRequest(
            f"{param} has {numbers.size} numbers, the collection's vectors have {schema.dimensions}; embed it with the "
            "collection's model",
            param=param,
        )
    with np.errstate(over="ignore", invalid="ignore"):
        size = float(numbers.dot(numbers))
    if not 0 < size < np.inf:  # the rare cases, told apart
        if not np.isfinite(numbers).all():
            raise InvalidRequest(f"{param} holds NaN or an infinity; send finite numbers", param=param)
        if schema.metric == "cosine" and not numbers.any():
            raise InvalidRequest(
                f"{param} is all zeros, which has no cosine; send another, or use a collection of metric dot",
                param=param,
            )
    return numbers


def rows_of(vectors: Sequence[Values], schema: Schema, param: str) -> Floats:
    """Vectors (n, d), each checked; the one at fault is named `param[i]`."""
    rows = np.empty((len(vectors), schema.dimensions), np.float32)
    for i, values in enumerate(vectors):
        rows[i] = vector_of(values, schema, f"{param}[{i}]")
    return rows


def records_of(items: Iterable[VectorItem], namespace: str, schema: Schema) -> list[Record]:
    """The records that are sent; a text goes into the metadata, as the field that the schema names."""
    records = []
    for i, item in enumerate(items):
        param = f"vectors[{i}]"
        if item.values is None:
            raise InvalidRequest(
                f"{param} has no values; send its numbers, or a text to a server that embeds",
                param=f"{param}.values",
            )
        metadata = item.metadata
        if item.text is not None:
            if not schema.text_field:
                raise InvalidRequest(
                    f"{param} has a text, and the collection keeps none; send it as metadata",
                    param=f"{param}.text",
                )
            metadata = {**(metadata or {}), schema.text_field: item.text}
        records.append(
            Record(item.id, vector_of(item.values, schema, f"{param}.values"), metadata, namespace)
        )
    return records


def values_of(vector: Floats, *, packed: bool) -> Values:
    """A vector (d,) as it travels: `packed` in base64, else as a list."""
    if packed:
        return binascii.b2a_base64(vector.astype("<f4", copy=False).tobytes(), newline=False).decode()
    listed: list[float] = vector.tolist()
    return listed


def queried_of(
    matches: Iterable[Match], namespace: str, missing: Mapping[str, str], *, packed: bool
) -> Queried:
    """The answer of a query."""
    return Queried(
        matches=[
            Matched(
                match.id,
                match.score,
                None if match.vector is None else values_of(match.vector, packed=packed),
                match.metadata,
            )
            for match in matches
        ],
        namespace=namespace,
        partial=bool(missing),
        missing=dict(missing),
    )


def fetched_of(records: Mapping[str, Record], namespace: str) -> Fetched:
    """The answer of a fetch."""
    return Fetched(
        vectors={
            name: VectorItem(
                name,
                None if record.vector is None else values_of(record.vector, packed=False),
                None if record.metadata is None else dict(record.metadata),
            )
            for name, record in records.items()
        },
        namespace=namespace,
    )

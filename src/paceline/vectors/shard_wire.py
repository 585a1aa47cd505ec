"""How calls of a shard travel: numbers as their bytes, filters as the JSON they came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from paceline.base.errors import PayloadTooLarge
from paceline.flow.channel import MAX_FRAME_BYTES
from paceline.vectors.filters import Filter
from paceline.vectors.record import Record

_MOST_BYTES: Final = MAX_FRAME_BYTES * 3 // 4
"""Of vectors in one call; the rest is for names and metadata."""


def sent_records(records: Iterable[Record]) -> list[list[Any]]:
    """Records as they travel. PayloadTooLarge."""
    sent = [[record.id, octets_of(record.vector), record.metadata, record.namespace] for record in records]
    check_size(sum(len(vector or b"") for _, vector, _, _ in sent))
    return sent


def received_records(sent: Iterable[list[Any]]) -> Iterator[Record]:
    """The records that `sent_records` sent."""
    return (
        Record(name, numbers_of(vector), metadata, namespace) for name, vector, metadata, namespace in sent
    )


def check_size(octets: int) -> None:
    """PayloadTooLarge before a frame would break the connection, and with it the calls of others."""
    if octets > _MOST_BYTES:
        raise PayloadTooLarge(
            f"vectors of {octets} bytes in one call of a shard; {_MOST_BYTES} is the most, ask in parts"
        )


def octets_of(vector: Any) -> bytes | None:
    """The numbers of a vector as float32."""
    return None if vector is None else np.asarray(vector, np.float32).tobytes()


def numbers_of(octets: bytes | None) -> Any:
    """The vector (d,) that `octets_of` made bytes of."""
    return None if octets is None else np.frombuffer(octets, np.float32)


def sent_filter(wanted: Mapping[str, Any] | Filter | None) -> tuple[bytes | None, bool]:
    """The JSON of a filter, and whether it was checked against the fields there are."""
    if wanted is None:
        return None, False
    if isinstance(wanted, Filter):
        return wanted.key, True
    return msgspec.json.encode(wanted), False


def received_filter(text: bytes | None, checked: bool) -> Mapping[str, Any] | Filter | None:
    """The filter that `sent_filter` sent."""
    if text is None:
        return None
    wanted = orjson.loads(text)
    return Filter.parse(wanted) if checked else wanted

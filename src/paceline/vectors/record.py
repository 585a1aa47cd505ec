"""What goes into a collection and what comes out: `Record`, `Match`, and how a record is named and described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import xxhash

from paceline.base.errors import InvalidRequest
from paceline.vectors.metadata import checked_metadata
from paceline.vectors.metric import Floats

MOST_ID_BYTES: Final = 512
MOST_NAMESPACE_BYTES: Final = 128
MOST_METADATA_BYTES: Final = 40_960

Metadata = dict[str, Any]
Key = tuple[str, str]
"""Namespace and id: what a record is known by."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, Any])


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One vector with its name and what is known of it."""

    id: str
    vector: Any  # (d,) numbers
    metadata: Mapping[str, Any] | None = None
    namespace: str = ""


class Match(msgspec.Struct, frozen=True):
    """One result: `score` is higher where it is nearer; what was not asked for is None."""

    id: str
    score: float
    metadata: Metadata | None = None
    vector: Floats | None = None


def key_hash(key: Key) -> int:
    """64 bits by which a record is looked up; equal hashes are told apart by the ids themselves."""
    namespace, name = key
    return xxhash.xxh3_64_intdigest(f"{namespace}\0{name}".encode())


def checked_id(name: Any, param: str = "id") -> str:
    """`name` if it can name a record."""
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"id is {name!r}; send a text of 1 to {MOST_ID_BYTES} bytes", param=param)
    _checked_length(name, MOST_ID_BYTES, "id", param)
    return name


def checked_namespace(name: Any, param: str = "namespace") -> str:
    """`name` if it can name a namespace; the empty one is the default."""
    if not isinstance(name, str) or "\0" in name:
        raise InvalidRequest(
            f"namespace is {name!r}; send a text of at most {MOST_NAMESPACE_BYTES} bytes without NUL",
            param=param,
        )
    _checked_length(name, MOST_NAMESPACE_BYTES, "namespace", param)
    return name


def _checked_length(name: str, most: int, what: str, param: str) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} {name!r} holds half a surrogate pair; send text", param=param) from None
    if size > most:
        raise InvalidRequest(f"{what} {name[:40]!r}... has {size} bytes; {most} is the most", param=param)


def packed_metadata(metadata: Mapping[str, Any] | None, param: str = "metadata") -> bytes:
    """`metadata` as msgpack, empty for none. InvalidRequest on a field that cannot be kept, or too many of them."""
    if not metadata:
        return b""
    packed = _encoder.encode(checked_metadata(metadata, param))
    if len(packed) > MOST_METADATA_BYTES:
        raise InvalidRequest(
            f"metadata has {len(packed)} bytes; {MOST_METADATA_BYTES} is the most", param=param
        )
    return packed


def unpacked_metadata(packed: bytes) -> Metadata | None:
    """The metadata that `packed_metadata` made bytes of."""
    return _decoder.decode(packed) if packed else None

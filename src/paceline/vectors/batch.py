"""What one write says, in columns: records that replace those of the same name, or names to delete.

This is also what the log holds, so replaying it needs nothing but the batches: an update of metadata is logged as the
whole record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import InvalidRequest, StorageDamaged
from paceline.vectors.metric import Floats
from paceline.vectors.record import Key, Record, checked_id, checked_namespace, key_hash, packed_metadata


class _LoggedUpsert(msgspec.Struct, frozen=True, tag="u", array_like=True):
    ids: list[str]
    namespaces: list[str]  # one for all, or one each
    metadata: list[bytes]
    vectors: memoryview  # float32, row after row


class _LoggedDelete(msgspec.Struct, frozen=True, tag="d", array_like=True):
    ids: list[str]
    namespaces: list[str]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_LoggedUpsert | _LoggedDelete)


class Deletes(msgspec.Struct, frozen=True, eq=False):
    """Records that go, by name; those that are not there are no error."""

    keys: list[Key]
    hashes: NDArray[np.uint64]

    @classmethod
    def of(cls, keys: list[Key]) -> Self:
        """Delete `keys`."""
        return cls(keys, hashes_of(keys))

    def logged(self) -> bytes:
        """As the log holds it."""
        return _encoder.encode(_LoggedDelete([name for _, name in self.keys], _shared(self.keys)))


class Upserts(msgspec.Struct, frozen=True, eq=False):
    """Records that come, or replace those of the same name."""

    keys: list[Key]
    hashes: NDArray[np.uint64]
    vectors: Floats  # (n, d) as they are stored, but for their precision
    metadata: list[bytes]

    @classmethod
    def of(cls, keys: list[Key], vectors: Floats, metadata: list[bytes]) -> Self:
        """Columns that were checked."""
        assert len(keys) == len(vectors) == len(metadata)
        return cls(keys, hashes_of(keys), vectors, metadata)

    def logged(self) -> bytes:
        """As the log holds it."""
        octets = np.ascontiguousarray(self.vectors).reshape(-1).view(np.uint8).data
        return _encoder.encode(
            _LoggedUpsert([name for _, name in self.keys], _shared(self.keys), self.metadata, octets)
        )


Batch = Upserts | Deletes


def from_log(payload: bytes | memoryview, dimensions: int) -> Batch:
    """The batch that `logged` made bytes of. StorageDamaged if it was not for vectors of `dimensions` numbers."""
    try:
        logged = _decoder.decode(payload)
        keys = _keys(logged.ids, logged.namespaces)
        if isinstance(logged, _LoggedDelete):
            return Deletes.of(keys)
        vectors = np.frombuffer(logged.vectors, np.float32).reshape(len(keys), dimensions)
        return Upserts.of(keys, vectors, logged.metadata)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StorageDamaged(f"the log holds a batch that is none ({error}); restore a snapshot") from error


def hashes_of(keys: Sequence[Key]) -> NDArray[np.uint64]:
    """Their hashes (n,)."""
    return np.fromiter(map(key_hash, keys), np.uint64, len(keys))


def columns_of(records: Sequence[Record]) -> tuple[list[Key], list[Any], list[bytes]]:
    """Names, vectors and packed metadata of records, checked but for the vectors."""
    keys, metadata = [], []
    for i, record in enumerate(records):
        at = f"records[{i}]"
        keys.append(
            (checked_namespace(record.namespace, f"{at}.namespace"), checked_id(record.id, f"{at}.id"))
        )
        metadata.append(packed_metadata(record.metadata, f"{at}.metadata"))
    return keys, [record.vector for record in records], metadata


def checked_keys(ids: Sequence[Any], namespace: Any, param: str = "ids") -> list[Key]:
    """Names in one namespace."""
    if isinstance(ids, str):
        raise InvalidRequest(f"{param} is the text {ids[:40]!r}; send a list of ids", param=param)
    space = checked_namespace(namespace)
    return [(space, checked_id(name, f"{param}[{i}]")) for i, name in enumerate(ids)]


def without_doubles(keys: Sequence[Key]) -> None:
    """InvalidRequest if a name comes twice, as nobody could say which of the two is kept."""
    if len(set(keys)) == len(keys):
        return
    seen: dict[Key, int] = {}
    for i, key in enumerate(keys):
        if key in seen:
            raise InvalidRequest(
                f"id {key[1]!r} comes twice, at {seen[key]} and {i}; send each record once a batch",
                param=f"records[{i}].id",
            )
        seen[key] = i


def merged_metadata(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with the fields of `new`; a field that is None in `new` goes."""
    return {field: value for field, value in {**(old or {}), **new}.items() if value is not None}


def _shared(keys: Sequence[Key]) -> list[str]:
    spaces = [space for space, _ in keys]
    return spaces[:1] if len(set(spaces)) <= 1 else spaces


def _keys(ids: list[str], namespaces: list[str]) -> list[Key]:
    if len(namespaces) == 1:
        return [(namespaces[0], name) for name in ids]
    return list(zip(namespaces, ids, strict=True))

"""Each shard's part of a write or a read, as calls by shard: of records by `upserts` and `array_upserts`, of ids by `by_owner`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from paceline.vectors.fan_out import Call
from paceline.vectors.metric import Floats
from paceline.vectors.record import Key, Record, checked_id

Owner = Callable[[Key], str]
"""The shard that takes a record."""


def upserts(records: Iterable[Record], owner: Owner) -> dict[str, Call[int]]:
    """Records, each to its shard."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        parts.setdefault(owner((record.namespace, record.id)), []).append(record)

    def call(part: list[Record]) -> Call[int]:
        return lambda shard: shard.upsert(part)

    return {name: call(part) for name, part in parts.items()}


def array_upserts(
    keys: Sequence[Key], rows: Floats, metadata: Sequence[Mapping[str, Any] | None], owner: Owner
) -> dict[str, Call[int]]:
    """Columns (n,), (n, d), (n,) of records of one namespace, each row to its shard."""
    parts: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        parts.setdefault(owner(key), []).append(row)

    def call(part: list[int]) -> Call[int]:
        names, given = [keys[row][1] for row in part], [metadata[row] for row in part]
        namespace = keys[part[0]][0]
        return lambda shard: shard.upsert_arrays(names, rows[part], given, namespace=namespace)

    return {name: call(part) for name, part in parts.items()}


def by_owner(ids: Iterable[str], owner: Callable[[str], str]) -> dict[str, list[str]]:
    """Ids by the shard that has them. InvalidRequest on one that is none."""
    parts: dict[str, list[str]] = {}
    for name in ids:
        parts.setdefault(owner(checked_id(name)), []).append(name)
    return parts


def deletes(parts: Mapping[str, list[str]], namespace: str) -> dict[str, Call[int]]:
    """Ids of a namespace to delete, by shard."""

    def call(part: list[str]) -> Call[int]:
        return lambda shard: shard.delete(part, namespace=namespace)

    return {name: call(part) for name, part in parts.items()}


def fetches(
    parts: Mapping[str, list[str]], namespace: str, *, include_vectors: bool
) -> dict[str, Call[dict[str, Record]]]:
    """Ids of a namespace to fetch, by shard."""

    def call(part: list[str]) -> Call[dict[str, Record]]:
        return lambda shard: shard.fetch(part, namespace=namespace, include_vectors=include_vectors)

    return {name: call(part) for name, part in parts.items()}

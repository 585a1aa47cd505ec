"""What callers of a sharded collection send, checked as a whole before any shard is given its part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from paceline.base.errors import InvalidRequest
from paceline.vectors.batch import checked_keys, columns_of, without_doubles
from paceline.vectors.fan_out import Lane, every
from paceline.vectors.filters import Filter
from paceline.vectors.incoming import Incoming
from paceline.vectors.metadata import Types, merged_types
from paceline.vectors.metric import Floats
from paceline.vectors.policy import Schema
from paceline.vectors.preprocess import Preprocess
from paceline.vectors.record import Key, Record, packed_metadata

Wanted = Mapping[str, Any] | Filter


class ShardedIncoming:
    """Checks of records and filters; vectors stay as they are sent, as each shard reduces its own."""

    def __init__(self, schema: Schema) -> None:
        nothing = np.ones((1, schema.dimensions), np.float32)
        self._incoming = Incoming(schema, Preprocess.learn(nothing, metric=schema.metric))
        self._types: Types = {}

    def records(self, records: Iterable[Record], most: int) -> list[Record]:
        """The records, `most` of them. InvalidRequest names the one at fault."""
        keys, vectors, _ = columns_of(given := list(records))
        without_doubles(keys)
        _check_count(len(keys), most)
        rows = self._incoming.each(vectors)
        return [
            Record(record.id, row, record.metadata, record.namespace)
            for record, row in zip(given, rows, strict=True)
        ]

    def arrays(
        self,
        ids: Sequence[str],
        vectors: Any,
        metadata: Sequence[Mapping[str, Any] | None] | None,
        namespace: str,
        most: int,
    ) -> tuple[list[Key], Floats, Sequence[Mapping[str, Any] | None]]:
        """The columns (n,), (n, d), (n,), `most` rows of them. InvalidRequest names the row at fault."""
        keys, rows = checked_keys(ids, namespace), self._incoming.vectors(vectors)
        given = [None] * len(keys) if metadata is None else metadata
        if not len(rows) == len(keys) == len(given):
            raise InvalidRequest(
                f"{len(keys)} ids, {len(rows)} vectors, {len(given)} metadata; send one of each for each record",
                param="ids",
            )
        without_doubles(keys)
        _check_count(len(keys), most)
        for i, one in enumerate(given):
            packed_metadata(one, f"metadata[{i}]")
        return keys, rows, given

    def filter(self, wanted: Wanted, lanes: Mapping[str, Lane], timeout_s: float) -> Filter:
        """The filter, checked against the fields of all shards: one shard alone may not have them all."""
        if isinstance(wanted, Filter):
            return wanted
        parsed = Filter.parse(wanted)
        try:
            parsed.check(self._types)
        except InvalidRequest:
            found, missing = every(lanes, lambda shard: shard.types, timeout_s)
            self._types = merged_types(found.values())
            if self._types and not missing:  # otherwise nobody can say that there is no such field
                parsed.check(self._types)
        return parsed


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise InvalidRequest(
            f"{count} records in one write; {most} is the most, send several", param="records"
        )

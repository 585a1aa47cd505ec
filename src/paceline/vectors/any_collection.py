"""What may be done with a collection, whether it is one, one in another process, or many shards.

All answer in the same types. A search of shards that some did not answer says so: see `gathered.missing_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from paceline.vectors.codes import Precision
from paceline.vectors.filters import Filter
from paceline.vectors.metadata import Types
from paceline.vectors.policy import Schema, VectorsPolicy
from paceline.vectors.record import Key, Match, Record
from paceline.vectors.stats import CollectionStats


class CollectionCalls(Protocol):
    """The part of `Collection` that answers alike wherever the records are."""

    def upsert(self, records: Iterable[Record]) -> int:
        """See `Collection.upsert`."""
        ...

    def upsert_arrays(
        self,
        ids: Sequence[str],
        vectors: Any,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        *,
        namespace: str = "",
    ) -> int:
        """See `Collection.upsert_arrays`."""
        ...

    def update(
        self,
        id: str,  # noqa: A002 - its name in the API
        *,
        metadata: Mapping[str, Any] | None = None,
        vector: Any = None,
        namespace: str = "",
    ) -> None:
        """See `Collection.update`."""
        ...

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002
        namespace: str = "",
        everything: bool = False,
    ) -> int:
        """See `Collection.delete`."""
        ...

    def fetch(
        self, ids: Sequence[str], *, namespace: str = "", include_vectors: bool = True
    ) -> dict[str, Record]:
        """See `Collection.fetch`."""
        ...

    def query(  # noqa: PLR0913 - keywords, each with a default
        self,
        vectors: Any,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002
        namespace: str = "",
        ef: int | None = None,
        candidates: int | None = None,
        include_metadata: bool = False,
        include_vectors: bool = False,
        exact: bool = False,
    ) -> list[list[Match]]:
        """See `Collection.query`."""
        ...

    def by_words(  # noqa: PLR0913 - keywords, each with a default
        self,
        text: str,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002
        namespace: str = "",
        include_metadata: bool = False,
        include_vectors: bool = False,
    ) -> list[Match]:
        """See `Collection.by_words`."""
        ...

    def all_keys(self) -> Iterable[Key]:
        """See `Collection.all_keys`."""
        ...

    @property
    def default_ef(self) -> int:
        """See `Collection.default_ef`."""
        ...

    @property
    def types(self) -> Types:
        """See `Collection.types`."""
        ...

    @property
    def version(self) -> int:
        """See `Collection.version`."""
        ...

    @property
    def records(self) -> int:
        """See `Collection.records`."""
        ...

    @property
    def troubles(self) -> dict[str, str]:
        """See `Collection.troubles`."""
        ...

    def stats(self) -> CollectionStats:
        """See `Collection.stats`."""
        ...

    def snapshot(self, folder: Path) -> None:
        """See `Collection.snapshot`."""
        ...

    def verify(self) -> dict[str, str]:
        """See `Collection.verify`."""
        ...

    def reencode(self, precision: Precision) -> None:
        """See `Collection.reencode`."""
        ...

    def settle(self) -> None:
        """See `Collection.settle`."""
        ...

    def compact(self) -> None:
        """See `Collection.compact`."""
        ...

    def close(self) -> None:
        """See `Collection.close`."""
        ...


class AnyCollection(CollectionCalls, Protocol):
    """What a `VectorStore` holds: a `Collection`, or a `ShardedCollection`; safe for any number of threads.

    Of the latter a write or a read of records raises Unreachable when a shard that it concerns is missing; a search,
    `stats`, `records` and `troubles` go on without.
    """

    policy: VectorsPolicy

    @property
    def schema(self) -> Schema:
        """What it holds."""
        ...

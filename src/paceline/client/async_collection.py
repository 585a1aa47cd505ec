"""One collection of a server, for the asynchronous client: `Collection` with `await`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, Unpack

from paceline.base.vectors_collections import (
    CollectionCard,
    Compact,
    Describe,
    DescribeCollection,
    Described,
    DropCollection,
    Reencode,
    Reshard,
    Resharded,
    Restore,
    Snapshot,
    Tuned,
    Verified,
    Verify,
)
from paceline.base.vectors_records import (
    Delete,
    Deleted,
    Fetch,
    Fetched,
    Listed,
    ListIds,
    Queried,
    Update,
    Upserted,
    VectorItem,
)
from paceline.client.vector_messages import (
    CARE_S,
    Given,
    Numbers,
    QueryFields,
    SearchFields,
    TuneFields,
    packed,
    query_of,
    search_of,
    tune_of,
    upsert_of,
)


class Asks(Protocol):
    """A client."""

    async def ask(self, asked: Any, *, timeout_s: float | None = None) -> Any:
        """Ask one struct of `vectors_api`."""
        ...


class AsyncCollection:
    """One collection of a server; `client.collection(name)` gives it, and asks nothing.

    `timeout_s` of a call is its patience, retries included; without, it is the client's, or an hour for what reads or writes all of it.
    """

    def __init__(self, client: Asks, name: str) -> None:
        self.name = name
        self._client = client

    async def upsert(
        self, vectors: Iterable[Given], *, namespace: str = "", timeout_s: float | None = None
    ) -> int:
        """Add records, or replace those of the same id; all of them or none. Returns how many.

        Each is a dict with `id`, `values` (or `text`, which the server embeds) and `metadata`, or (id, values, metadata).
        """
        done: Upserted = await self._client.ask(upsert_of(self.name, vectors, namespace), timeout_s=timeout_s)
        return done.upserted_count

    async def update(
        self,
        id: str,  # noqa: A002 - its name in the API
        *,
        values: Numbers | None = None,
        set_metadata: Mapping[str, Any] | None = None,
        namespace: str = "",
        timeout_s: float | None = None,
    ) -> None:
        """Change a record: `values` replaces its vector, fields of `set_metadata` replace, None removes one."""
        asked = Update(
            collection=self.name,
            id=id,
            values=None if values is None else packed(values),
            set_metadata=None if set_metadata is None else {**set_metadata},
            namespace=namespace,
        )
        await self._client.ask(asked, timeout_s=timeout_s)

    async def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - its name in the API
        delete_all: bool = False,
        namespace: str = "",
        timeout_s: float | None = None,
    ) -> int:
        """Delete by id, by filter, or a whole namespace; returns how many records there were."""
        asked = Delete(
            collection=self.name,
            ids=None if ids is None else [*ids],
            filter=None if filter is None else {**filter},
            delete_all=delete_all,
            namespace=namespace,
        )
        done: Deleted = await self._client.ask(asked, timeout_s=timeout_s)
        return done.deleted_count

    async def fetch(
        self,
        ids: Sequence[str],
        *,
        namespace: str = "",
        include_values: bool = True,
        timeout_s: float | None = None,
    ) -> dict[str, VectorItem]:
        """The records of these ids that there are, by id."""
        asked = Fetch(collection=self.name, ids=[*ids], namespace=namespace, include_values=include_values)
        found: Fetched = await self._client.ask(asked, timeout_s=timeout_s)
        return found.vectors

    async def ids(self, prefix: str = "", *, namespace: str = "", page: int = 1000) -> AsyncIterator[str]:
        """All ids that begin with `prefix`, in rising order, fetched a page at a time."""
        token = None
        while True:
            asked = ListIds(
                collection=self.name, prefix=prefix, namespace=namespace, limit=page, pagination_token=token
            )
            listed: Listed = await self._client.ask(asked)
            for one in listed.vectors:
                yield one.id
            if listed.pagination is None:
                return
            token = listed.pagination.next

    async def query(
        self,
        vector: Numbers | None = None,
        *,
        id: str | None = None,  # noqa: A002 - its name in the API
        text: str | None = None,
        timeout_s: float | None = None,
        **fields: Unpack[QueryFields],
    ) -> Queried:
        """The records nearest to a vector, to the record `id`, or to a vector and words (`text`), fused."""
        answer: Queried = await self._client.ask(
            query_of(self.name, vector, id, text, fields), timeout_s=timeout_s
        )
        return answer

    async def search(
        self, text: str, *, timeout_s: float | None = None, **fields: Unpack[SearchFields]
    ) -> Queried:
        """The records nearest to a text, which the server embeds; `mode` may be vector, words or hybrid."""
        asked = search_of(self.name, text, fields)
        answer: Queried = await self._client.ask(asked, timeout_s=timeout_s)
        return answer

    async def stats(self, *, timeout_s: float | None = None) -> Described:
        """Counts, sizes, and what is wrong."""
        answer: Described = await self._client.ask(Describe(collection=self.name), timeout_s=timeout_s)
        return answer

    async def card(self, *, timeout_s: float | None = None) -> CollectionCard:
        """What the collection is, and the setting that searches use."""
        answer: CollectionCard = await self._client.ask(
            DescribeCollection(collection=self.name), timeout_s=timeout_s
        )
        return answer

    async def tune(
        self,
        recall: float,
        *,
        vectors: Iterable[Numbers] | None = None,
        timeout_s: float = CARE_S,
        **fields: Unpack[TuneFields],
    ) -> Tuned:
        """Find the quickest setting that holds `recall` on `vectors`, or on the latest queries; and keep to it."""
        answer: Tuned = await self._client.ask(
            tune_of(self.name, recall, vectors, fields), timeout_s=timeout_s
        )
        return answer

    async def compact(self, *, timeout_s: float = CARE_S) -> CollectionCard:
        """Join all segments under one graph, and wait for it."""
        answer: CollectionCard = await self._client.ask(Compact(collection=self.name), timeout_s=timeout_s)
        return answer

    async def verify(self, *, timeout_s: float = CARE_S) -> dict[str, str]:
        """Read all files against their checksums; returns the segments that were changed, and what was done."""
        done: Verified = await self._client.ask(Verify(collection=self.name), timeout_s=timeout_s)
        return done.damaged

    async def reencode(
        self,
        precision: Literal["fp32", "fp16", "bf16", "int8", "binary"],
        *,
        timeout_s: float = CARE_S,
    ) -> CollectionCard:
        """Hold the vectors that are searched in another precision; searches go on meanwhile."""
        asked = Reencode(collection=self.name, precision=precision)
        answer: CollectionCard = await self._client.ask(asked, timeout_s=timeout_s)
        return answer

    async def reshard(self, shards: int, *, timeout_s: float = CARE_S) -> Resharded:
        """Spread the collection over another number of shards; reads and writes go on."""
        answer: Resharded = await self._client.ask(
            Reshard(collection=self.name, shards=shards), timeout_s=timeout_s
        )
        return answer

    async def snapshot(self, name: str, *, timeout_s: float = CARE_S) -> None:
        """Keep the collection as it is now under a name."""
        await self._client.ask(Snapshot(collection=self.name, name=name), timeout_s=timeout_s)

    async def restore(self, source: str, snapshot: str, *, timeout_s: float = CARE_S) -> CollectionCard:
        """Make this collection, which must not exist, of a snapshot of `source`."""
        asked = Restore(collection=self.name, source=source, name=snapshot)
        answer: CollectionCard = await self._client.ask(asked, timeout_s=timeout_s)
        return answer

    async def drop(self, *, timeout_s: float | None = None) -> None:
        """Delete the collection and all its records."""
        await self._client.ask(DropCollection(collection=self.name), timeout_s=timeout_s)

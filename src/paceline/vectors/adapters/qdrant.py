"""Qdrant as a `VectorService`: one point a record, its id and namespace beside the metadata in the payload.

Qdrant's ids are UUIDs, so a record's is made of its namespace and its own id (UUIDv5): an upsert finds it again without
a search.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self, cast

import numpy as np

from paceline.base.errors import InvalidRequest, NotFound
from paceline.base.vectors_collections import (
    CollectionCard,
    Collections,
    Compact,
    ComparePrecisions,
    CreateCollection,
    Describe,
    DescribeCollection,
    Described,
    DropCollection,
    Dropped,
    ListCollections,
    ListSnapshots,
    NamespaceCount,
    Reencode,
    Reshard,
    Restore,
    Snapshot,
    Tune,
    Verify,
)
from paceline.base.vectors_records import (
    Delete,
    Deleted,
    Fetch,
    Fetched,
    Listed,
    ListedId,
    ListIds,
    Matched,
    Page,
    Queried,
    Query,
    Update,
    Updated,
    Upsert,
    Upserted,
    VectorItem,
)
from paceline.vectors.adapters.foreign import (
    changes_of,
    check_delete,
    check_drop,
    check_query,
    check_update,
    checked_ids,
    checked_name,
    meant,
    refused,
    schema_of_wish,
    sent_of,
)
from paceline.vectors.adapters.qdrant_collection import QdrantCollection, body_of_wish
from paceline.vectors.adapters.qdrant_filter import Condition, condition_of, path_of
from paceline.vectors.adapters.qdrant_rest import QdrantRest
from paceline.vectors.filters import Filter
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.record import checked_namespace
from paceline.vectors.wire import vector_of

_IDS: Final = uuid.UUID("6b7e3b8e-1c61-5f0e-9d8f-0f6f0d0c7a11")
"""Our namespace of UUIDv5: another would lose sight of all records."""
_MOST_NAMESPACES: Final = 10_000
_INSTEAD: Final[Mapping[type[Any], str]] = {
    Tune: "measure with `exact` and set `ef` in the query, or hnsw_config in Qdrant",
    ComparePrecisions: "measure with `exact` on collections of each quantization_config",
    Reencode: "change quantization_config in Qdrant (PATCH /collections/NAME)",
    Compact: "its optimizer does it (optimizers_config)",
    Verify: "it checks its own files",
    Reshard: "use Qdrant's resharding, or make a collection of more shards",
    Snapshot: "use Qdrant's own (POST /collections/NAME/snapshots)",
    ListSnapshots: "use Qdrant's own (GET /collections/NAME/snapshots)",
    Restore: "use Qdrant's own (PUT /collections/NAME/snapshots/recover)",
}


class Qdrant:
    """Collections of one Qdrant. Belongs to one event loop."""

    def __init__(self, rest: QdrantRest, collection: str) -> None:
        self._rest = rest
        self._default = collection
        self._known: dict[str, QdrantCollection] = {}
        self._answers: dict[type[Any], Callable[[Any, float], Awaitable[Any]]] = {
            Upsert: self._upsert,
            Update: self._update,
            Delete: self._delete,
            Fetch: self._fetch,
            ListIds: self._list,
            Query: self._query,
            Describe: self._describe,
            CreateCollection: self._create,
            ListCollections: self._list_collections,
            DescribeCollection: self._describe_collection,
            DropCollection: self._drop,
        }

    @classmethod
    @asynccontextmanager
    async def open(cls, policy: VectorsPolicy) -> AsyncIterator[Self]:
        """For as long as the block runs. ConfigError for an address that is none."""
        rest = QdrantRest(policy.url, policy.api_key, connections=policy.threads)
        try:
            yield cls(rest, policy.collection)
        finally:
            await rest.close()

    def hit(self, query: Query) -> None:
        """Nothing is kept: others may write to the same Qdrant."""

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Counters of the calls."""
        return self._rest.calls.stats()

    def health(self) -> Mapping[str, object]:
        """How the last call went."""
        return self._rest.calls.health()

    async def answer(self, asked: Any, *, deadline_at: float) -> Any:
        """See `VectorService`."""
        answer = self._answers.get(type(asked))
        if answer is None:
            raise refused(asked, _INSTEAD, "Qdrant")
        try:
            return await answer(asked, deadline_at)
        except NotFound as error:
            if error.param == "collection":  # dropped, or made anew as another, by somebody else
                self._known.clear()
            raise

    # -- records ----------------------------------------------------------------------------------------------

    async def _upsert(self, asked: Upsert, deadline_at: float) -> Upserted:
        of = await self._collection(asked.collection, deadline_at)
        sent = sent_of(asked, of.schema)
        points = [
            {
                "id": _point_id(asked.namespace, name),
                "vector": vector,
                "payload": {"id": name, "namespace": asked.namespace, "metadata": metadata},
            }
            for name, vector, metadata in zip(sent.ids, sent.vectors, sent.metadata, strict=True)
        ]
        if points:
            await self._write("PUT", of, "points", {"points": points}, deadline_at)
        return Upserted(upserted_count=len(points))

    async def _update(self, asked: Update, deadline_at: float) -> Updated:
        of = await self._collection(asked.collection, deadline_at)
        check_update(asked)
        point = _point_id(asked.namespace, asked.id)
        kept, gone = changes_of(asked.set_metadata)
        vector = None if asked.values is None else vector_of(asked.values, of.schema, "values")
        steps: list[dict[str, Any]] = []
        if vector is not None:
            steps.append({"update_vectors": {"points": [{"id": point, "vector": vector}]}})
        if kept:
            steps.append({"set_payload": {"payload": kept, "points": [point], "key": "metadata"}})
        if gone:
            keys = [path_of(field, "setMetadata") for field in gone]
            steps.append({"delete_payload": {"keys": keys, "points": [point]}})
        if not await self._points(of, [point], deadline_at, metadata=False, values=False):
            raise NotFound(f"no record {asked.id!r} in namespace {asked.namespace!r}; upsert it", param="id")
        if steps:
            await self._write("POST", of, "points/batch", {"operations": steps}, deadline_at)
        return Updated()

    async def _delete(self, asked: Delete, deadline_at: float) -> Deleted:
        of = await self._collection(asked.collection, deadline_at)
        check_delete(asked)
        if asked.ids is not None:
            points = [_point_id(asked.namespace, name) for name in checked_ids(asked.ids, asked.namespace)]
            there = await self._points(of, points, deadline_at, metadata=False, values=False)
            count, body = len(there), cast("dict[str, Any]", {"points": points})
        else:
            wanted = _wanted(asked.namespace, asked.filter)
            count = await self._count(of, wanted, deadline_at)
            body = {"filter": wanted}
        if count:
            await self._write("POST", of, "points/delete", body, deadline_at)
        return Deleted(deleted_count=count)

    async def _fetch(self, asked: Fetch, deadline_at: float) -> Fetched:
        of = await self._collection(asked.collection, deadline_at)
        points = [_point_id(asked.namespace, name) for name in checked_ids(asked.ids, asked.namespace)]
        found = await self._points(of, points, deadline_at, values=asked.include_values)
        items = {
            point["payload"]["id"]: VectorItem(
                point["payload"]["id"], point.get("vector"), point["payload"].get("metadata") or None
            )
            for point in found
        }
        return Fetched(
            vectors={name: items[name] for name in asked.ids if name in items}, namespace=asked.namespace
        )

    async def _list(self, asked: ListIds, deadline_at: float) -> Listed:
        """In Qdrant's order, which is that of the UUIDs; a prefix is looked for among all."""
        of = await self._collection(asked.collection, deadline_at)
        names: list[str] = []
        offset = asked.pagination_token
        while True:
            reply = await self._rest.post(
                *of.path,
                "points/scroll",
                body={
                    "filter": _wanted(asked.namespace, None),
                    "limit": asked.limit,
                    "offset": offset,
                    "with_payload": ["id"],
                },
                deadline_at=deadline_at,
            )
            for point in reply["points"]:
                name = point["payload"]["id"]
                if not name.startswith(asked.prefix):
                    continue
                if len(names) == asked.limit:
                    return Listed(
                        vectors=[ListedId(id=one) for one in names],
                        namespace=asked.namespace,
                        pagination=Page(next=point["id"]),
                    )
                names.append(name)
            offset = reply.get("next_page_offset")
            if offset is None:
                return Listed(vectors=[ListedId(id=one) for one in names], namespace=asked.namespace)

    async def _query(self, asked: Query, deadline_at: float) -> Queried:
        check_query(asked, "Qdrant")
        of = await self._collection(asked.collection, deadline_at)
        if asked.id is None:
            assert asked.vector is not None
            vector = vector_of(asked.vector, of.schema, "vector")
        else:  # by its vector: asked by a point's id, Qdrant leaves that point out
            found = await self._points(
                of, [_point_id(asked.namespace, asked.id)], deadline_at, metadata=False
            )
            if not found:
                raise NotFound(
                    f"no record {asked.id!r} in namespace {asked.namespace!r}; send a vector", param="id"
                )
            vector = np.array(found[0]["vector"], np.float32)
        reply = await self._rest.post(
            *of.path,
            "points/query",
            body={
                "query": vector,
                "filter": _wanted(asked.namespace, asked.filter),
                "limit": asked.top_k,
                "params": of.search_params(asked),
                "with_vector": asked.include_values,
                "with_payload": True if asked.include_metadata else ["id"],
            },
            deadline_at=deadline_at,
        )
        return Queried(
            matches=[
                Matched(
                    point["payload"]["id"],
                    of.score(point["score"]),
                    point["vector"] if asked.include_values else None,
                    (point["payload"].get("metadata") or None) if asked.include_metadata else None,
                )
                for point in reply["points"]
            ],
            namespace=asked.namespace,
        )

    # -- collections ------------------------------------------------------------------------------------------

    async def _describe(self, asked: Describe, deadline_at: float) -> Described:
        of = await self._collection(asked.collection, deadline_at)
        facet = await self._rest.post(
            *of.path,
            "facet",
            body={"key": "namespace", "limit": _MOST_NAMESPACES, "exact": True},
            deadline_at=deadline_at,
        )
        counts = {hit["value"]: NamespaceCount(vector_count=hit["count"]) for hit in facet["hits"]}
        return Described(
            namespaces=counts,
            dimension=of.schema.dimensions,
            total_vector_count=sum(one.vector_count for one in counts.values()),
            metric=of.schema.metric,
            collection=of.name,
        )

    async def _create(self, asked: CreateCollection, deadline_at: float) -> CollectionCard:
        schema = schema_of_wish(asked, "Qdrant")
        if asked.name in await self._names(deadline_at):
            raise InvalidRequest(
                f"collection {asked.name!r} exists; drop it, or choose another name", param="name"
            )
        path = ("collections", asked.name)
        await self._rest.send("PUT", path, body_of_wish(schema, asked.shards), deadline_at)
        index = {"field_name": "namespace", "field_schema": {"type": "keyword", "is_tenant": True}}
        await self._rest.send("PUT", (*path, "index"), index, deadline_at, wait=True)
        return await self._describe_collection(DescribeCollection(collection=asked.name), deadline_at)

    async def _list_collections(self, _: ListCollections, deadline_at: float) -> Collections:
        cards = []
        for name in sorted(await self._names(deadline_at)):
            of = QdrantCollection.of_reply(
                name, await self._rest.get("collections", name, deadline_at=deadline_at)
            )
            if of is not None:
                cards.append(of.card(await self._count(of, None, deadline_at)))
        return Collections(collections=cards)

    async def _describe_collection(self, asked: DescribeCollection, deadline_at: float) -> CollectionCard:
        of = await self._collection(asked.collection, deadline_at)
        return of.card(await self._count(of, None, deadline_at))

    async def _drop(self, asked: DropCollection, deadline_at: float) -> Dropped:
        check_drop(asked)
        of = await self._collection(asked.collection, deadline_at)
        self._known.pop(of.name, None)
        await self._rest.send("DELETE", of.path, None, deadline_at)
        return Dropped()

    # -- calls ------------------------------------------------------------------------------------------------

    async def _names(self, deadline_at: float) -> list[str]:
        reply = await self._rest.get("collections", deadline_at=deadline_at)
        return [one["name"] for one in reply["collections"]]

    async def _collection(self, wanted: str, deadline_at: float) -> QdrantCollection:
        name = wanted or self._default
        known = self._known.get(name)
        if known is not None:
            return known
        name = checked_name(wanted, "collection") if wanted else meant(name, await self._names(deadline_at))
        of = QdrantCollection.of_reply(
            name, await self._rest.get("collections", name, deadline_at=deadline_at)
        )
        if of is None:
            raise InvalidRequest(
                f"collection {name!r} of Qdrant has other than one unnamed dense vector a point; make one here",
                param="collection",
            )
        self._known[name] = of
        return of

    async def _points(
        self,
        of: QdrantCollection,
        points: list[str],
        deadline_at: float,
        *,
        metadata: bool = True,
        values: bool = True,
    ) -> list[dict[str, Any]]:
        body = {"ids": points, "with_payload": True if metadata else ["id"], "with_vector": values}
        found: list[dict[str, Any]] = await self._rest.post(
            *of.path, "points", body=body, deadline_at=deadline_at
        )
        return found

    async def _count(self, of: QdrantCollection, wanted: Condition | None, deadline_at: float) -> int:
        body = {"exact": True} | ({} if wanted is None else {"filter": wanted})
        reply = await self._rest.post(*of.path, "points/count", body=body, deadline_at=deadline_at)
        return int(reply["count"])

    async def _write(
        self, method: str, of: QdrantCollection, what: str, body: Any, deadline_at: float
    ) -> None:
        await self._rest.send(method, (*of.path, what), body, deadline_at, wait=True)


def _point_id(namespace: str, name: str) -> str:
    return str(uuid.uuid5(_IDS, f"{namespace}\0{name}"))


def _wanted(namespace: str, conditions: Mapping[str, Any] | None) -> Condition:
    """Records of a namespace that pass a filter."""
    wanted: list[Condition] = [{"key": "namespace", "match": {"value": checked_namespace(namespace)}}]
    if conditions is not None:
        wanted.append(condition_of(Filter.parse(conditions).root))
    return {"must": wanted}

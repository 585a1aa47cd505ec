"""PostgreSQL with pgvector as a `VectorService`: a table a collection, metadata in jsonb, each call a transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import orjson
from psycopg.sql import SQL, Composable

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
    TEXT_FIELD,
    changes_of,
    check_delete,
    check_drop,
    check_query,
    check_update,
    checked_ids,
    meant,
    refused,
    schema_of_wish,
    sent_of,
)
from paceline.vectors.adapters.pg_collection import PgCollection, held_schema, metadata_of, vector_text
from paceline.vectors.adapters.pg_pool import Connection, PgPool
from paceline.vectors.adapters.sql_filter import condition_of
from paceline.vectors.filters import Filter
from paceline.vectors.policy import Schema, VectorsPolicy
from paceline.vectors.record import checked_namespace
from paceline.vectors.wire import vector_of

_EF: Final = 100
"""Vectors looked at where the query says nothing, as in our own store; pgvector's default is 40."""
_MOST_EF: Final = 1000
"""Of pgvector; where more results are asked, its index goes on searching."""
_INSTEAD: Final[Mapping[type[Any], str]] = {
    Tune: "measure with `exact` and set `ef` in the query",
    ComparePrecisions: "measure with `exact` on collections of each precision",
    Reencode: "alter the column's type in PostgreSQL, or copy into a collection of another precision",
    Compact: "use VACUUM and REINDEX INDEX CONCURRENTLY in PostgreSQL",
    Verify: "use pg_amcheck and data checksums",
    Reshard: "one PostgreSQL is one shard; partition there",
    Snapshot: "use pg_dump or base backups",
    ListSnapshots: "use pg_dump or base backups",
    Restore: "use pg_restore",
}


class PgVector:
    """Collections in one database. Belongs to one event loop."""

    def __init__(self, pool: PgPool, collection: str) -> None:
        self._pool = pool
        self._default = collection
        self._known: dict[str, PgCollection] = {}
        self._answers: dict[type[Any], Callable[[Connection, Any], Awaitable[Any]]] = {
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
        pool = PgPool(policy.url, policy.api_key, connections=policy.threads)
        await pool.open()
        try:
            yield cls(pool, policy.collection)
        finally:
            await pool.close()

    def hit(self, query: Query) -> None:
        """Nothing is kept: others may write to the same database."""

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Counters of the calls."""
        return self._pool.calls.stats()

    def health(self) -> Mapping[str, object]:
        """How the last call went."""
        return self._pool.calls.health()

    async def answer(self, asked: Any, *, deadline_at: float) -> Any:
        """See `VectorService`."""
        answer = self._answers.get(type(asked))
        if answer is None:
            raise refused(asked, _INSTEAD, "pgvector")
        try:
            return await self._pool.run(lambda connection: answer(connection, asked), deadline_at)
        except NotFound as error:
            if error.param == "collection":  # dropped, or made anew as another, by somebody else
                self._known.clear()
            raise

    # -- records ----------------------------------------------------------------------------------------------

    async def _upsert(self, connection: Connection, asked: Upsert) -> Upserted:
        of = await self._collection(connection, asked.collection)
        sent = sent_of(asked, of.schema)
        await connection.execute(
            of.statement(
                "INSERT INTO {table} (namespace, id, embedding, metadata)"
                " SELECT %s, id, embedding::{type}, metadata::jsonb"
                " FROM unnest(%s::text[], %s::text[], %s::text[]) AS sent (id, embedding, metadata)"
                " ON CONFLICT (namespace, id) DO UPDATE SET embedding = EXCLUDED.embedding, metadata = EXCLUDED.metadata"
            ),
            (
                asked.namespace,
                sent.ids,
                [vector_text(vector) for vector in sent.vectors],
                [orjson.dumps(one).decode() for one in sent.metadata],
            ),
        )
        return Upserted(upserted_count=len(sent.ids))

    async def _update(self, connection: Connection, asked: Update) -> Updated:
        of = await self._collection(connection, asked.collection)
        check_update(asked)
        kept, gone = changes_of(asked.set_metadata)
        vector = None if asked.values is None else vector_text(vector_of(asked.values, of.schema, "values"))
        done = await connection.execute(
            of.statement(
                "UPDATE {table} SET embedding = COALESCE(%s::{type}, embedding),"
                " metadata = (metadata || %s::jsonb) - %s::text[] WHERE namespace = %s AND id = %s"
            ),
            (vector, orjson.dumps(kept).decode(), gone, asked.namespace, asked.id),
        )
        if not done.rowcount:
            raise NotFound(f"no record {asked.id!r} in namespace {asked.namespace!r}; upsert it", param="id")
        return Updated()

    async def _delete(self, connection: Connection, asked: Delete) -> Deleted:
        of = await self._collection(connection, asked.collection)
        check_delete(asked)
        if asked.ids is not None:
            which: Composable = SQL("namespace = %s AND id = ANY(%s)")
            values = [asked.namespace, checked_ids(asked.ids, asked.namespace)]
        else:
            which, values = _wanted(asked.namespace, asked.filter)
        done = await connection.execute(of.statement("DELETE FROM {table} WHERE ") + which, values)
        return Deleted(deleted_count=done.rowcount)

    async def _fetch(self, connection: Connection, asked: Fetch) -> Fetched:
        of = await self._collection(connection, asked.collection)
        found = await connection.execute(
            of.statement(
                "SELECT id, metadata, CASE WHEN %s THEN embedding::text END FROM {table}"
                " WHERE namespace = %s AND id = ANY(%s)"
            ),
            (asked.include_values, asked.namespace, checked_ids(asked.ids, asked.namespace)),
        )
        items = {
            name: VectorItem(name, None if vector is None else orjson.loads(vector), metadata_of(metadata))
            async for name, metadata, vector in found
        }
        return Fetched(
            vectors={name: items[name] for name in asked.ids if name in items}, namespace=asked.namespace
        )

    async def _list(self, connection: Connection, asked: ListIds) -> Listed:
        """The token of a page is the last id of the page before."""
        of = await self._collection(connection, asked.collection)
        found = await connection.execute(
            of.statement(
                "SELECT id FROM {table} WHERE namespace = %s AND id > %s AND starts_with(id, %s) ORDER BY id LIMIT %s"
            ),
            (checked_namespace(asked.namespace), asked.pagination_token or "", asked.prefix, asked.limit + 1),
        )
        names = [name async for (name,) in found]
        is_last = len(names) <= asked.limit
        names = names[: asked.limit]
        return Listed(
            vectors=[ListedId(id=name) for name in names],
            namespace=asked.namespace,
            pagination=None if is_last else Page(next=names[-1]),
        )

    async def _query(self, connection: Connection, asked: Query) -> Queried:
        check_query(asked, "pgvector")
        if asked.candidates is not None:
            raise InvalidRequest(
                "pgvector searches the vectors themselves, so nothing is scored again; leave out candidates",
                param="candidates",
            )
        of = await self._collection(connection, asked.collection)
        which, values = _wanted(asked.namespace, asked.filter)
        vector = await self._asked_vector(connection, of, asked)
        ef = min(max(asked.ef or _EF, asked.top_k), _MOST_EF)
        await connection.execute(
            "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'strict_order', true),"
            " set_config('enable_indexscan', %s, true)",
            (str(ef), "off" if asked.exact else "on"),
        )
        found = await connection.execute(
            of.statement(
                "SELECT id, embedding {distance} %s::{type} AS distance, CASE WHEN %s THEN metadata END,"
                " CASE WHEN %s THEN embedding::text END FROM {table} WHERE "
            )
            + which
            + SQL(" ORDER BY distance LIMIT %s"),
            [vector, asked.include_metadata, asked.include_values, *values, asked.top_k],
        )
        return Queried(
            matches=[
                Matched(
                    name,
                    of.score(distance),
                    None if vector is None else orjson.loads(vector),
                    None if metadata is None else metadata_of(metadata),
                )
                async for name, distance, metadata, vector in found
            ],
            namespace=asked.namespace,
        )

    async def _asked_vector(self, connection: Connection, of: PgCollection, asked: Query) -> str:
        if asked.vector is not None:
            return vector_text(vector_of(asked.vector, of.schema, "vector"))
        found = await connection.execute(
            of.statement("SELECT embedding::text FROM {table} WHERE namespace = %s AND id = %s"),
            (asked.namespace, asked.id),
        )
        row = await found.fetchone()
        if row is None:
            raise NotFound(
                f"no record {asked.id!r} in namespace {asked.namespace!r}; send a vector", param="id"
            )
        text: str = row[0]
        return text

    # -- collections ------------------------------------------------------------------------------------------

    async def _describe(self, connection: Connection, asked: Describe) -> Described:
        of = await self._collection(connection, asked.collection)
        found = await connection.execute(
            of.statement("SELECT namespace, count(*) FROM {table} GROUP BY namespace")
        )
        counts = {name: NamespaceCount(vector_count=count) async for name, count in found}
        return Described(
            namespaces=counts,
            dimension=of.schema.dimensions,
            total_vector_count=sum(one.vector_count for one in counts.values()),
            metric=of.schema.metric,
            collection=of.name,
        )

    async def _create(self, connection: Connection, asked: CreateCollection) -> CollectionCard:
        schema = held_schema(schema_of_wish(asked, "pgvector"))
        if asked.shards != 1:
            raise InvalidRequest(
                f"shards is {asked.shards}; one PostgreSQL is one shard, partition there", param="shards"
            )
        of = PgCollection(asked.name, schema)
        made = await connection.execute(
            "INSERT INTO paceline._collections VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (of.name, schema.dimensions, schema.metric, schema.precision),
        )
        if not made.rowcount:
            raise InvalidRequest(
                f"collection {asked.name!r} exists; drop it, or choose another name", param="name"
            )
        for statement in of.created():
            await connection.execute(statement)
        return of.card(0)

    async def _list_collections(self, connection: Connection, _: ListCollections) -> Collections:
        found = await connection.execute(
            "SELECT name, dimensions, metric, precision FROM paceline._collections ORDER BY name"
        )
        every = [_collection_of(*row) async for row in found]
        return Collections(collections=[of.card(await _count(connection, of)) for of in every])

    async def _describe_collection(self, connection: Connection, asked: DescribeCollection) -> CollectionCard:
        of = await self._collection(connection, asked.collection)
        return of.card(await _count(connection, of))

    async def _drop(self, connection: Connection, asked: DropCollection) -> Dropped:
        check_drop(asked)
        of = await self._collection(connection, asked.collection)
        self._known.pop(of.name, None)
        await connection.execute("DELETE FROM paceline._collections WHERE name = %s", (of.name,))
        await connection.execute(of.statement("DROP TABLE {table}"))
        return Dropped()

    async def _collection(self, connection: Connection, wanted: str) -> PgCollection:
        name = wanted or self._default
        known = self._known.get(name)
        if known is not None:
            return known
        if not wanted:
            found = await connection.execute("SELECT name FROM paceline._collections")
            name = meant(name, [one async for (one,) in found])
        found = await connection.execute(
            "SELECT name, dimensions, metric, precision FROM paceline._collections WHERE name = %s", (name,)
        )
        row = await found.fetchone()
        if row is None:
            raise NotFound(f"no collection {name!r}; create it", param="collection")
        return self._known.setdefault(name, _collection_of(*row))


def _collection_of(name: str, dimensions: int, metric: Any, precision: Any) -> PgCollection:
    return PgCollection(name, Schema(dimensions, metric, precision, "none", text_field=TEXT_FIELD))


async def _count(connection: Connection, of: PgCollection) -> int:
    row = await (await connection.execute(of.statement("SELECT count(*) FROM {table}"))).fetchone()
    assert row is not None
    return int(row[0])


def _wanted(namespace: str, conditions: Mapping[str, Any] | None) -> tuple[Composable, list[Any]]:
    """Records of a namespace that pass a filter: a condition and its parameters."""
    checked_namespace(namespace)
    if conditions is None:
        return SQL("namespace = %s"), [namespace]
    condition, values = condition_of(Filter.parse(conditions).root)
    return SQL("namespace = %s AND {}").format(condition), [namespace, *values]

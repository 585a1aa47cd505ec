"""What is asked of a collection, but searches, done: each takes what was asked and gives the answer. They may block."""

from __future__ import annotations

import base64
import binascii
import heapq
from typing import Any

import msgspec

from paceline.base.errors import InvalidRequest
from paceline.base.vectors_collections import (
    CollectionCard,
    ComparePrecisions,
    CreateCollection,
    Described,
    NamespaceCount,
    Precisions,
    Reencode,
    Verified,
)
from paceline.base.vectors_records import (
    Delete,
    Deleted,
    Fetch,
    Fetched,
    Listed,
    ListedId,
    ListIds,
    Page,
    Update,
    Updated,
    Upsert,
    Upserted,
)
from paceline.vectors.any_collection import AnyCollection
from paceline.vectors.collection import Collection
from paceline.vectors.held import Held
from paceline.vectors.levels import measured_levels
from paceline.vectors.policy import Schema
from paceline.vectors.record import checked_namespace
from paceline.vectors.wire import METRICS, fetched_of, records_of, rows_of, vector_of


def upsert(collection: AnyCollection, asked: Upsert) -> Upserted:
    """Write records; all or none."""
    records = records_of(asked.vectors, asked.namespace, collection.schema)
    try:
        return Upserted(upserted_count=collection.upsert(records))
    except InvalidRequest as error:
        raise _named_as_sent(error) from None


def _named_as_sent(error: InvalidRequest) -> InvalidRequest:
    """The same error with the names of the request."""
    if error.param is None:
        return error
    return type(error)(
        error.message.replace("records[", "vectors["), param=error.param.replace("records[", "vectors[")
    )


def update(collection: AnyCollection, asked: Update) -> Updated:
    """Change a record."""
    if asked.values is None and asked.set_metadata is None:
        raise InvalidRequest(
            "an update changes nothing; send values, setMetadata, or both", param="setMetadata"
        )
    vector = None if asked.values is None else vector_of(asked.values, collection.schema, "values")
    collection.update(asked.id, metadata=asked.set_metadata, vector=vector, namespace=asked.namespace)
    return Updated()


def delete(collection: AnyCollection, asked: Delete) -> Deleted:
    """Delete records."""
    if (asked.ids is not None) + (asked.filter is not None) + asked.delete_all != 1:
        raise InvalidRequest("say what to delete: one of ids, filter, deleteAll", param="ids")
    count = collection.delete(
        asked.ids, filter=asked.filter, namespace=asked.namespace, everything=asked.delete_all
    )
    return Deleted(deleted_count=count)


def fetch(collection: AnyCollection, asked: Fetch) -> Fetched:
    """Read records."""
    records = collection.fetch(asked.ids, namespace=asked.namespace, include_vectors=asked.include_values)
    return fetched_of(records, asked.namespace)


def list_ids(collection: AnyCollection, asked: ListIds) -> Listed:
    """A page of ids, in order; goes through all names, as they are kept in none."""
    after = "" if asked.pagination_token is None else _id_of(asked.pagination_token)
    namespace = checked_namespace(asked.namespace)
    names = (
        name
        for space, name in collection.all_keys()
        if space == namespace and name > after and name.startswith(asked.prefix)
    )
    page = heapq.nsmallest(asked.limit + 1, names)
    more = len(page) > asked.limit
    page = page[: asked.limit]
    return Listed(
        vectors=[ListedId(id=name) for name in page],
        namespace=namespace,
        pagination=Page(next=_token_of(page[-1])) if more else None,
    )


def _token_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _id_of(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            f"paginationToken is {token[:60]!r}, which no page gave; send `next` of the page before",
            param="paginationToken",
        ) from None


def describe(name: str, collection: AnyCollection) -> Described:
    """Counts and sizes."""
    stats = collection.stats()
    return Described(
        namespaces={
            space: NamespaceCount(vector_count=count) for space, count in sorted(stats.namespaces.items())
        },
        dimension=stats.dimensions,
        total_vector_count=stats.records,
        metric=collection.schema.metric,
        collection=name,
        version=stats.version,
        details=msgspec.to_builtins(stats, str_keys=True),
    )


def compact(held: Held) -> CollectionCard:
    """Join all segments."""
    held.collection.compact()
    return held.card()


def verify(collection: AnyCollection) -> Verified:
    """Read all files."""
    return Verified(damaged={str(number): why for number, why in collection.verify().items()})


def precisions(held: Held, asked: ComparePrecisions) -> Precisions:
    """What each would give. InvalidRequest for shards, and for few records."""
    if not isinstance(held.collection, Collection):
        raise InvalidRequest(
            f"{held.name} has shards, and precisions are compared on a collection of one; load a part of it into another",
            param="collection",
        )
    policy, kept = held.collection.policy.search, held.recall.kept
    table = measured_levels(
        held.collection,
        k=asked.k,
        ef=held.collection.default_ef if kept is None else kept.ef,
        candidates=policy.candidates if kept is None else kept.candidates,
    )
    return msgspec.convert(table, Precisions, from_attributes=True)


def reencode(held: Held, asked: Reencode) -> CollectionCard:
    """Begin to hold the vectors in another precision; `Describe` tells how far it is."""
    held.collection.reencode(asked.precision)
    held.recall.look_again()
    return held.card()


def schema_of(asked: CreateCollection) -> tuple[Schema, Any]:
    """What a collection is made with, and the sample that it learns from."""
    if asked.dimension < 1:
        raise InvalidRequest(
            "dimension is 0; say how many numbers the vectors have, or ask a server that embeds",
            param="dimension",
        )
    schema = Schema(
        dimensions=asked.dimension,
        metric=METRICS[asked.metric],
        precision=asked.precision,
        rescore=asked.rescore,
        reduction=asked.reduction,
        kept=asked.kept,
        text_field=asked.text_field,
    )
    return schema, None if asked.sample is None else rows_of(asked.sample, schema, "sample")

"""Every way to ask for vectors over HTTP: which method and path asks what. One row, one operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from paceline.base.vectors_api import ANSWER
from paceline.base.vectors_collections import (
    Compact,
    ComparePrecisions,
    CreateCollection,
    Describe,
    DescribeCollection,
    DropCollection,
    ListCollections,
    ListSnapshots,
    Reencode,
    Reshard,
    Restore,
    Snapshot,
    Tune,
    Verify,
)
from paceline.base.vectors_records import Delete, Fetch, ListIds, Queried, Query, Search, Update, Upsert
from paceline.serve.call import MAX_TIMEOUT_MS
from paceline.serve.pinecone_indexes import (
    CreateIndex,
    Index,
    Indexes,
    NoIndex,
    index_of,
    indexes_of,
    no_index,
)

COLLECTION: Final = "/v1/collections/{name}"
INDEX: Final = "/v1/indexes/{name}"
_LASTING_S: Final = MAX_TIMEOUT_MS / 1e3


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `{name}` in a path is the collection."""

    name: str
    """In metrics, and in the ids of the OpenAPI description."""
    asked: type[Any]
    """What bodies are decoded into, and query strings of GET."""
    summary: str
    paths: tuple[str, ...]
    methods: tuple[str, ...] = ("POST",)
    timeout_s: float | None = None
    """Patience of callers who do not say; None is `serve.timeout_s`."""
    quick: bool = False
    """Whether the answer may be in memory."""
    told: type[Any] | None = None
    """What is replied where it is not what the service answers, and how that is made of the answer and our address."""
    tell: Callable[[Any, str], Any] | None = None

    @property
    def reply(self) -> type[Any]:
        """What is replied."""
        return self.told or ANSWER[self.asked]


def _vectors(name: str, *more: str) -> tuple[str, ...]:
    return (f"/v1/vectors/{name}", f"{COLLECTION}/vectors/{name}", *more)


def _care(name: str, asked: type[Any], summary: str) -> Operation:
    return Operation(
        name=name, asked=asked, summary=summary, paths=(f"{COLLECTION}/{name}",), timeout_s=_LASTING_S
    )


OPERATIONS: Final = (
    Operation(name="upsert", asked=Upsert, summary="Add or replace records", paths=_vectors("upsert")),
    Operation(
        name="query",
        asked=Query,
        summary="The records nearest to a vector",
        paths=("/v1/vectors/query", f"{COLLECTION}/query"),
        quick=True,
    ),
    Operation(
        name="search",
        asked=Search,
        told=Queried,
        summary="The records nearest to a text",
        paths=("/v1/search", f"{COLLECTION}/search"),
        quick=True,
    ),
    Operation(
        name="fetch",
        asked=Fetch,
        summary="Records by id",
        paths=_vectors("fetch"),
        methods=("GET", "POST"),
    ),
    Operation(name="update", asked=Update, summary="Change a record", paths=_vectors("update")),
    Operation(
        name="delete",
        asked=Delete,
        summary="Delete by id, by filter, or a whole namespace",
        paths=_vectors("delete"),
    ),
    Operation(
        name="list",
        asked=ListIds,
        summary="Ids, a page at a time",
        paths=_vectors("list"),
        methods=("GET", "POST"),
    ),
    Operation(
        name="describe",
        asked=Describe,
        summary="Counts, sizes, and what is wrong",
        paths=("/v1/vectors/describe_index_stats", f"{COLLECTION}/describe_index_stats"),
        methods=("GET", "POST"),
    ),
    Operation(
        name="create_collection",
        asked=CreateCollection,
        summary="Make a collection",
        paths=("/v1/collections",),
        timeout_s=_LASTING_S,
    ),
    Operation(
        name="list_collections",
        asked=ListCollections,
        summary="All collections",
        paths=("/v1/collections",),
        methods=("GET",),
    ),
    Operation(
        name="describe_collection",
        asked=DescribeCollection,
        summary="One collection",
        paths=(COLLECTION,),
        methods=("GET",),
    ),
    Operation(
        name="drop_collection",
        asked=DropCollection,
        summary="Delete a collection",
        paths=(COLLECTION,),
        methods=("DELETE",),
        timeout_s=_LASTING_S,
    ),
    _care("tune", Tune, "The quickest setting that holds a recall"),
    _care("compact", Compact, "Join all segments under one graph"),
    _care("verify", Verify, "Read all files against their checksums"),
    _care("precisions", ComparePrecisions, "What each precision would give"),
    _care("reencode", Reencode, "Another precision"),
    _care("reshard", Reshard, "Another number of shards"),
    _care("snapshot", Snapshot, "Keep the collection as it is now"),
    _care("restore", Restore, "Make this collection of a snapshot"),
    Operation(
        name="list_snapshots",
        asked=ListSnapshots,
        summary="All snapshots",
        paths=("/v1/snapshots",),
        methods=("GET",),
    ),
    # Pinecone's control plane: collections under another name.
    Operation(
        name="create_index",
        asked=CreateIndex,
        told=Index,
        tell=index_of,
        summary="Make a collection, asked as Pinecone's clients do",
        paths=("/v1/indexes",),
        timeout_s=_LASTING_S,
    ),
    Operation(
        name="list_indexes",
        asked=ListCollections,
        told=Indexes,
        tell=indexes_of,
        summary="All collections, told as to Pinecone's clients",
        paths=("/v1/indexes",),
        methods=("GET",),
    ),
    Operation(
        name="describe_index",
        asked=DescribeCollection,
        told=Index,
        tell=index_of,
        summary="One collection, told as to Pinecone's clients",
        paths=(INDEX,),
        methods=("GET",),
    ),
    Operation(
        name="delete_index",
        asked=DropCollection,
        told=NoIndex,
        tell=no_index,
        summary="Delete a collection",
        paths=(INDEX,),
        methods=("DELETE",),
        timeout_s=_LASTING_S,
    ),
)
"""All there are."""

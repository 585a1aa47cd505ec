"""Protobuf's messages as what a `VectorService` is asked, and its answers as protobuf's.

Protobuf's `Struct` knows one kind of number, float64: whole ones become integers again, as they were most likely sent.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from paceline.base.errors import InvalidRequest
from paceline.base.vectors_collections import Describe, Described
from paceline.base.vectors_message import Values
from paceline.base.vectors_records import (
    Delete,
    Fetch,
    Fetched,
    Listed,
    ListIds,
    Queried,
    Query,
    Update,
    Updated,
    Upsert,
    Upserted,
    VectorItem,
)
from paceline.serve.grpc import vector_service_pb2 as pb

_EXACT: Final = 1 << 53
_MOST_LISTED: Final = 10_000


def upsert_of(request: pb.UpsertRequest, collection: str) -> Upsert:
    """Records to write."""
    for i, vector in enumerate(request.vectors):
        _dense(vector, "sparse_values", f"vectors[{i}].sparse_values")
    return Upsert(
        collection=collection,
        namespace=request.namespace,
        vectors=[
            VectorItem(vector.id, list(vector.values), _fields(vector, "metadata"))
            for vector in request.vectors
        ],
    )


def update_of(request: pb.UpdateRequest, collection: str) -> Update:
    """A record to change; no values leave its vector as it is."""
    _dense(request, "sparse_values", "sparse_values")
    return Update(
        collection=collection,
        namespace=request.namespace,
        id=request.id,
        values=list(request.values) or None,
        set_metadata=_fields(request, "set_metadata"),
    )


def delete_of(request: pb.DeleteRequest, collection: str) -> Delete:
    """Records to delete."""
    return Delete(
        collection=collection,
        namespace=request.namespace,
        ids=list(request.ids) or None,
        filter=_fields(request, "filter"),
        delete_all=request.delete_all,
    )


def fetch_of(request: pb.FetchRequest, collection: str) -> Fetch:
    """Records to read."""
    return Fetch(collection=collection, namespace=request.namespace, ids=list(request.ids))


def list_of(request: pb.ListRequest, collection: str) -> ListIds:
    """A page of ids."""
    limit = request.limit if request.HasField("limit") else 100
    if not 1 <= limit <= _MOST_LISTED:
        raise InvalidRequest(f"limit is {limit}; ask for 1 to {_MOST_LISTED} ids a page", param="limit")
    return ListIds(
        collection=collection,
        namespace=request.namespace,
        prefix=request.prefix,
        limit=limit,
        pagination_token=request.pagination_token or None,
    )


def query_of(request: pb.QueryRequest, collection: str) -> Query:
    """A search by vector, or by that of a record."""
    _dense(request, "sparse_vector", "sparse_vector")
    return Query(
        collection=collection,
        namespace=request.namespace,
        vector=list(request.vector) or None,
        id=request.id or None,
        top_k=request.top_k,
        filter=_fields(request, "filter"),
        include_values=request.include_values,
        include_metadata=request.include_metadata,
    )


def describe_of(request: pb.DescribeIndexStatsRequest, collection: str) -> Describe:
    """Counts of a collection; a filter cannot be counted by."""
    if request.HasField("filter"):
        raise InvalidRequest("counts are of whole namespaces; leave out the filter", param="filter")
    return Describe(collection=collection)


def upserted(answer: Upserted) -> pb.UpsertResponse:
    """How many records are safe."""
    return pb.UpsertResponse(upserted_count=answer.upserted_count)


def updated(_: Updated) -> pb.UpdateResponse:
    """Done."""
    return pb.UpdateResponse()


def deleted(_: Any) -> pb.DeleteResponse:
    """Done; the message has no place for how many."""
    return pb.DeleteResponse()


def fetched(answer: Fetched) -> pb.FetchResponse:
    """Records by id."""
    vectors = {
        name: pb.Vector(id=name, values=_numbers(item.values), metadata=_struct(item.metadata))
        for name, item in answer.vectors.items()
    }
    return pb.FetchResponse(vectors=vectors, namespace=answer.namespace)


def listed(answer: Listed) -> pb.ListResponse:
    """A page; the last has no `pagination`."""
    return pb.ListResponse(
        vectors=[pb.ListItem(id=one.id) for one in answer.vectors],
        pagination=None if answer.pagination is None else pb.Pagination(next=answer.pagination.next),
        namespace=answer.namespace,
    )


def queried(answer: Queried) -> pb.QueryResponse:
    """The best, best first."""
    matches = [
        pb.ScoredVector(
            id=one.id, score=one.score, values=_numbers(one.values), metadata=_struct(one.metadata)
        )
        for one in answer.matches
    ]
    return pb.QueryResponse(matches=matches, namespace=answer.namespace)


def described(answer: Described) -> pb.DescribeIndexStatsResponse:
    """Counts, under Pinecone's names of the metrics."""
    return pb.DescribeIndexStatsResponse(
        namespaces={
            name: pb.NamespaceSummary(vector_count=one.vector_count)
            for name, one in answer.namespaces.items()
        },
        dimension=answer.dimension,
        index_fullness=answer.index_fullness,
        total_vector_count=answer.total_vector_count,
        metric={"dot": "dotproduct", "l2": "euclidean"}.get(answer.metric, answer.metric),
        vector_type=answer.vector_type,
    )


def _dense(message: Any, field: str, param: str) -> None:
    """InvalidRequest if there are sparse values, which no collection keeps."""
    if message.HasField(field):
        raise InvalidRequest(f"{param}: sparse vectors are not kept here; send dense ones", param=param)


def _numbers(values: Values | None) -> list[float]:
    if isinstance(values, str):
        listed: list[float] = np.frombuffer(binascii.a2b_base64(values), "<f4").tolist()
        return listed
    return values or []


def _fields(message: Any, field: str) -> dict[str, Any] | None:
    """A field of type Struct as JSON's values; None if it is not there."""
    return _object(getattr(message, field)) if message.HasField(field) else None


def _object(struct: Struct) -> dict[str, Any]:
    return {name: _plain(value) for name, value in struct.fields.items()}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= _EXACT else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _object(value.struct_value)
        case "list_value":
            return [_plain(one) for one in value.list_value.values]
        case _:
            return None


def _struct(fields: Mapping[str, Any] | None) -> Struct | None:
    return None if fields is None else Struct(fields={name: _value(one) for name, one in fields.items()})


def _value(plain: Any) -> Value:
    """Of a value that metadata may hold."""
    match plain:
        case bool():
            return Value(bool_value=plain)
        case int() | float():
            return Value(number_value=plain)
        case str():
            return Value(string_value=plain)
        case _:
            return Value(list_value=ListValue(values=[_value(one) for one in plain]))

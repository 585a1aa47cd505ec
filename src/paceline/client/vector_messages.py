"""What is asked of collections, as HTTP: the path of each struct of `vectors_api`, and what users may give for them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict
from urllib.parse import quote, urlencode

import httpx
import msgspec
import numpy as np
import numpy.typing as npt

from paceline.base.errors import InvalidRequest
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
from paceline.base.vectors_message import Values
from paceline.base.vectors_records import (
    Delete,
    Fetch,
    ListIds,
    Queried,
    Query,
    Search,
    Update,
    Upsert,
    VectorItem,
)
from paceline.client.messages import Call, decode

_POSTED: Final[dict[type[Any], str]] = {
    Upsert: "/v1/vectors/upsert",
    Query: "/v1/vectors/query",
    Fetch: "/v1/vectors/fetch",
    Delete: "/v1/vectors/delete",
    Update: "/v1/vectors/update",
    Describe: "/v1/vectors/describe_index_stats",
    CreateCollection: "/v1/collections",
    Search: "/v1/search",
}
"""The whole struct is the body."""
_OF_COLLECTION: Final[dict[type[Any], str]] = {
    Tune: "tune",
    Compact: "compact",
    Verify: "verify",
    ComparePrecisions: "precisions",
    Reencode: "reencode",
    Reshard: "reshard",
    Snapshot: "snapshot",
    Restore: "restore",
}
"""Posted to /v1/collections/NAME/...; the rest of the struct is the body."""
_GOT: Final[dict[type[Any], str]] = {ListCollections: "/v1/collections", ListSnapshots: "/v1/snapshots"}
_NOT_TWICE: Final = (CreateCollection, DropCollection, Snapshot, Restore)
"""Done once, the second try is refused, and nobody knows any more whether the first had been done."""

CARE_S: Final = 3600.0
"""Patience with what reads or writes a whole collection, unless a call says another."""

Numbers = Sequence[float] | npt.NDArray[np.floating[Any]]
"""A vector: numbers (dimensions,)."""
Given = VectorItem | Mapping[str, Any] | tuple[Any, ...]
"""A record: `VectorItem`, its fields, or (id, vector) and perhaps its metadata."""


class QueryFields(TypedDict, total=False):
    """How a query looks, and what of the records comes back; see `vectors_records.Query`."""

    top_k: int
    filter: Mapping[str, Any]
    namespace: str
    include_values: bool
    include_metadata: bool
    ef: int
    candidates: int
    exact: bool
    weights: tuple[float, float]


class SearchFields(QueryFields, total=False):
    """The same of a search by text; see `vectors_records.Search`."""

    mode: Literal["vector", "words", "hybrid"]
    model: str


class TuneFields(TypedDict, total=False):
    """How a setting is found; see `vectors_collections.Tune`."""

    k: int
    confidence: float
    namespace: str
    apply: bool


class CreateFields(TypedDict, total=False):
    """What a collection is; see `vectors_collections.CreateCollection`."""

    dimension: int
    metric: Literal["cosine", "dot", "dotproduct", "l2", "euclidean"]
    precision: Literal["fp32", "fp16", "bf16", "int8", "binary"]
    rescore: Literal["none", "fp16", "bf16", "fp32"]
    reduction: Literal["none", "truncate", "pca"]
    kept: int
    sample: Iterable[Numbers]
    shards: int
    text_field: str


def vectors_call(asked: Any) -> Call[Any]:
    """The exchange that asks one struct of `vectors_api`. InvalidRequest if its path needs a collection's name."""
    kind = type(asked)
    answer = Queried if kind is Search else ANSWER[kind]

    def read(response: httpx.Response) -> Any:
        return decode(response, answer)

    once = kind in _NOT_TWICE
    if path := _POSTED.get(kind):
        return Call("POST", path, read, msgspec.json.encode(asked), once=once)
    if path := _GOT.get(kind):
        return Call("GET", path, read)
    if kind is ListIds:
        return Call("GET", _with_fields("/v1/vectors/list", asked), read)
    if not asked.collection:
        raise InvalidRequest(f"{kind.__name__} of no collection; name one", param="collection")
    path = f"/v1/collections/{quote(asked.collection, safe='')}"
    if kind is DescribeCollection:
        return Call("GET", path, read)
    if kind is DropCollection:
        return Call("DELETE", path, read, once=once)
    body = {name: value for name, value in msgspec.to_builtins(asked).items() if name != "collection"}
    return Call("POST", f"{path}/{_OF_COLLECTION[kind]}", read, msgspec.json.encode(body), once=once)


def _with_fields(path: str, asked: ListIds) -> str:
    fields = {name: value for name, value in msgspec.to_builtins(asked).items() if value not in {None, ""}}
    return f"{path}?{urlencode(fields)}"


def packed(values: Any, param: str = "values") -> str:
    """A vector as base64 of float32, which keeps every bit and is half as long as its digits. InvalidRequest."""
    if isinstance(values, str):
        return values
    try:
        numbers = np.asarray(values, dtype="<f4")
    except (TypeError, ValueError):
        raise InvalidRequest(
            f"{param} is {str(values)[:40]!r}; give a list of numbers", param=param
        ) from None
    if numbers.ndim != 1:
        raise InvalidRequest(
            f"{param} has shape {numbers.shape}; give one vector, of shape (dimensions,)", param=param
        )
    return base64.b64encode(numbers.tobytes()).decode()


def items_of(records: Iterable[Given]) -> list[VectorItem]:
    """Records as they are sent. InvalidRequest names the one that is none."""
    return [_item(record, f"vectors[{i}]") for i, record in enumerate(records)]


def _item(record: Given, at: str) -> VectorItem:
    if isinstance(record, VectorItem):
        item = record
    elif isinstance(record, Mapping):
        unknown = sorted(set(record) - set(VectorItem.__struct_fields__))
        if unknown or "id" not in record:
            raise InvalidRequest(
                f"{at} has {', '.join(map(str, record)) or 'nothing'}; a record has id, values or text, and metadata",
                param=at,
            )
        item = VectorItem(**record)
    elif isinstance(record, tuple) and 2 <= len(record) <= 3:
        item = VectorItem(*record)
    else:
        raise InvalidRequest(
            f"{at} is of type {type(record).__name__}; give a dict with id and values, or (id, values, metadata)",
            param=at,
        )
    if item.values is None or isinstance(item.values, str):
        return item
    return msgspec.structs.replace(item, values=packed(item.values, f"{at}.values"))


def upsert_of(collection: str, records: Iterable[Given], namespace: str) -> Upsert:
    """Add or replace records."""
    return Upsert(collection=collection, vectors=items_of(records), namespace=namespace)


def query_of(
    collection: str,
    vector: Numbers | None,
    id: str | None,  # noqa: A002 - its name in the API
    text: str | None,
    fields: Mapping[str, Any],
) -> Query:
    """The records nearest to a vector, to a record, or to a vector and words."""
    values = None if vector is None else packed(vector, "vector")
    return Query(collection=collection, vector=values, id=id, text=text, **fields)


def search_of(collection: str, text: str, fields: Mapping[str, Any]) -> Search:
    """The records nearest to a text."""
    return Search(collection=collection, text=text, **fields)


def create_of(name: str, fields: Mapping[str, Any]) -> CreateCollection:
    """Make a collection."""
    sample = fields.get("sample")
    more = {} if sample is None else {"sample": [packed(row, f"sample[{i}]") for i, row in enumerate(sample)]}
    return CreateCollection(name=name, **{**fields, **more})


def tune_of(
    collection: str, recall: float, vectors: Iterable[Numbers] | None, fields: Mapping[str, Any]
) -> Tune:
    """Find the setting that holds a recall."""
    rows: list[Values] | None = (
        None if vectors is None else [packed(row, f"vectors[{i}]") for i, row in enumerate(vectors)]
    )
    return Tune(collection=collection, recall=recall, vectors=rows, **fields)

"""What every other store is asked with: which collection, what it refuses, and records as they are sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from paceline.base.errors import InvalidRequest, NotFound
from paceline.base.vectors_collections import CreateCollection, DropCollection
from paceline.base.vectors_records import MOST_K, Delete, Query, Update, Upsert
from paceline.vectors.batch import checked_keys, without_doubles
from paceline.vectors.metadata import checked_metadata
from paceline.vectors.metric import Floats
from paceline.vectors.policy import Schema
from paceline.vectors.record import checked_id, checked_namespace, packed_metadata
from paceline.vectors.wire import METRICS, records_of

TEXT_FIELD: Final = "text"
"""Field of the metadata that a record's text goes to."""
MOST_EF: Final = 10_000
_SHOWN: Final = 12
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Sent(msgspec.Struct, frozen=True, eq=False):
    """Checked records of one write, in columns."""

    ids: list[str]
    vectors: list[Floats]
    metadata: list[Mapping[str, Any]]


def sent_of(asked: Upsert, schema: Schema) -> Sent:
    """The records of a write. InvalidRequest names the one at fault."""
    records = records_of(asked.vectors, checked_namespace(asked.namespace), schema)
    for i, record in enumerate(records):
        checked_id(record.id, f"vectors[{i}].id")
        packed_metadata(record.metadata, f"vectors[{i}].metadata")
    without_doubles([(record.namespace, record.id) for record in records])
    return Sent(
        [record.id for record in records],
        [record.vector for record in records],
        [record.metadata or {} for record in records],
    )


def changes_of(metadata: Mapping[str, Any] | None) -> tuple[dict[str, Any], list[str]]:
    """Fields that are set and fields that go."""
    changes = metadata or {}
    kept = {field: value for field, value in changes.items() if value is not None}
    packed_metadata(kept, "setMetadata")
    return kept, [field for field in checked_metadata(dict.fromkeys(changes, True)) if field not in kept]


def checked_ids(ids: Iterable[Any], namespace: str) -> list[str]:
    """Ids, each once, in their order."""
    return list(dict.fromkeys(name for _, name in checked_keys(list(ids), namespace)))


def check_delete(asked: Delete) -> None:
    """InvalidRequest unless exactly one thing is said."""
    if (asked.ids is not None) + (asked.filter is not None) + asked.delete_all != 1:
        raise InvalidRequest("say what to delete: one of ids, filter, deleteAll", param="ids")


def check_query(asked: Query, store: str) -> None:
    """InvalidRequest on what no other store does, and on counts out of range."""
    if asked.text is not None:
        raise InvalidRequest(
            f"{store} ranks by vectors only through this server; send no text, or keep the collection in our own store "
            "(vectors.backend = 'paceline')",
            param="text",
        )
    if (asked.vector is None) == (asked.id is None):
        raise InvalidRequest("a query has a vector or the id of a record; send one of them", param="vector")
    if not 1 <= asked.top_k <= MOST_K:
        raise InvalidRequest(f"topK is {asked.top_k}; ask for 1 to {MOST_K}", param="topK")
    if asked.ef is not None and not 1 <= asked.ef <= MOST_EF:
        raise InvalidRequest(f"ef is {asked.ef}; look at 1 to {MOST_EF} vectors", param="ef")
    if asked.candidates is not None and not 1 <= asked.candidates <= MOST_EF:
        raise InvalidRequest(f"candidates is {asked.candidates}; use 1 to {MOST_EF}", param="candidates")


def schema_of_wish(asked: CreateCollection, store: str) -> Schema:
    """What a new collection is to hold. InvalidRequest on what no other store keeps."""
    checked_name(asked.name)
    if asked.dimension < 1:
        raise InvalidRequest(
            f"dimension is {asked.dimension}; say how many numbers a vector has", param="dimension"
        )
    if asked.reduction != "none":
        raise InvalidRequest(
            f"{store} leaves out no dimensions: reduction {asked.reduction!r} is none; reduce before sending",
            param="reduction",
        )
    if asked.text_field not in {"", TEXT_FIELD}:
        raise InvalidRequest(
            f"textField is {asked.text_field!r}; with {store} texts are kept as {TEXT_FIELD!r} and not indexed",
            param="textField",
        )
    if asked.precision == "bf16" or asked.rescore == "bf16":
        raise InvalidRequest(f"{store} has no bf16; use fp16 or fp32", param="precision")
    return Schema(
        asked.dimension, METRICS[asked.metric], asked.precision, asked.rescore, text_field=TEXT_FIELD
    )


def checked_name(name: str, param: str = "name") -> str:
    """`name` if it can name a collection, by the rule of our own store."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"collection name {name!r}: use 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit",
            param=param,
        )
    return name


def meant(default: str, names: Iterable[str]) -> str:
    """The collection that is asked where none is named: the setting's, or the only one there is. NotFound."""
    there = sorted(names)
    if default in there:
        return default
    if len(there) == 1:
        return there[0]
    listed = ", ".join(there[:_SHOWN]) or "none; create one"
    raise NotFound(
        f"no collection is named, and there is no {default!r}; there are: {listed}", param="collection"
    )


def check_drop(asked: DropCollection) -> None:
    """InvalidRequest unless the collection is named: nobody drops by leaving something out."""
    if not asked.collection:
        raise InvalidRequest("no collection is named; what is dropped must be", param="collection")


def check_update(asked: Update) -> None:
    """InvalidRequest if it says nothing."""
    checked_id(asked.id)
    checked_namespace(asked.namespace)
    if asked.values is None and asked.set_metadata is None:
        raise InvalidRequest(
            "an update changes nothing; send values, setMetadata, or both", param="setMetadata"
        )


def refused(asked: Any, instead: Mapping[type[Any], str], store: str) -> InvalidRequest:
    """The error for what a store is not asked through us; `instead` says what to use there."""
    kind = type(asked)
    way = instead.get(kind, "use our own store (vectors.backend = 'paceline')")
    return InvalidRequest(f"{kind.__name__} is not done by {store} through this server; {way}")

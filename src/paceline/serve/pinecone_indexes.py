"""Pinecone's control plane: an index is a collection, asked for and told in the shapes of Pinecone's clients."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from paceline.base.errors import InvalidRequest
from paceline.base.vectors_collections import CollectionCard, Collections, CreateCollection, Dropped

_FIELD: Final = "_values"
"""The vector field of an index whose records have one vector each."""
_ELSEWHERE: Final = "paceline"
"""Where the index is: told because clients want a place, whatever was asked for."""


class IndexField(msgspec.Struct, frozen=True):
    """A field of the records; here there is one, of dense vectors."""

    type: str = "dense_vector"
    dimension: int | None = None
    metric: Literal["cosine", "dotproduct", "euclidean"] = "cosine"
    description: str | None = None


class IndexSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields by name."""

    fields: dict[str, IndexField]


class CreateIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Make a collection, said with `schema` (API 2026-07) or with `dimension` and `metric` (older ones)."""

    name: str
    schema: IndexSchema | None = None
    dimension: int | None = None
    metric: Literal["cosine", "dotproduct", "euclidean"] | None = None
    vector_type: Literal["dense"] = "dense"
    deployment: Annotated[Any, Meta(description="Taken and not used: the index is here.")] = None
    spec: Annotated[Any, Meta(description="Taken and not used: the index is here.")] = None
    read_capacity: Annotated[Any, Meta(description="Taken and not used: the index is here.")] = None
    deletion_protection: Literal["disabled"] = "disabled"

    def asked(self) -> CreateCollection:
        """What it comes to. InvalidRequest where the schema is not of one vector."""
        if self.schema is None:
            if self.dimension is None:
                raise InvalidRequest(
                    "dimension is missing; send it, or a schema with one field of dense_vector",
                    param="dimension",
                )
            return CreateCollection(name=self.name, dimension=self.dimension, metric=self.metric or "cosine")
        if self.dimension is not None or self.metric is not None:
            raise InvalidRequest("schema and dimension or metric are both sent; send one", param="schema")
        several = len(self.schema.fields) != 1
        for name, field in self.schema.fields.items():
            if several or field.type != "dense_vector" or field.dimension is None:
                raise InvalidRequest(
                    f"field {name!r} is of type {field.type!r}, of {len(self.schema.fields)} fields; a collection has one "
                    "field of dense_vector with its dimension, and metadata of any fields without a schema",
                    param=f"schema.fields.{name}",
                )
            return CreateCollection(name=self.name, dimension=field.dimension, metric=field.metric)
        raise InvalidRequest(
            "schema has no fields; send one of type dense_vector with its dimension", param="schema.fields"
        )


class IndexStatus(msgspec.Struct, frozen=True):
    """Collections can be used as soon as they are made."""

    ready: bool = True
    state: str = "Ready"


class Deployment(msgspec.Struct, frozen=True):
    """Where it is, in the words of API 2026-07."""

    deployment_type: str = "byoc"
    environment: str = _ELSEWHERE


class Environment(msgspec.Struct, frozen=True):
    """A place."""

    environment: str = _ELSEWHERE


class IndexSpec(msgspec.Struct, frozen=True):
    """Where it is, in the words of older APIs."""

    byoc: Environment = Environment()


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """A collection, for clients of API 2026-07 (`schema`, `deployment`) and older ones (`dimension`, `metric`, `spec`)."""

    name: str
    host: Annotated[str, Meta(description="Base of the paths of this collection.")]
    dimension: int
    metric: str
    schema: IndexSchema
    status: IndexStatus = IndexStatus()
    vector_type: str = "dense"
    deployment: Deployment = Deployment()
    spec: IndexSpec = IndexSpec()
    deletion_protection: str = "disabled"
    tags: None = None


class Indexes(msgspec.Struct, frozen=True):
    """All there are, by name."""

    indexes: list[Index]


class NoIndex(msgspec.Struct, frozen=True):
    """It is gone."""


_METRIC: Final[dict[str, Literal["cosine", "dotproduct", "euclidean"]]] = {
    "cosine": "cosine",
    "dot": "dotproduct",
    "dotproduct": "dotproduct",
    "l2": "euclidean",
    "euclidean": "euclidean",
}


def index_of(card: CollectionCard, base: str) -> Index:
    """A collection as an index; `base` is how the caller reached this server, such as `http://host:8080`."""
    metric = _METRIC[card.metric]
    return Index(
        name=card.name,
        host=f"{base}/v1/collections/{card.name}",
        dimension=card.dimension,
        metric=metric,
        schema=IndexSchema({_FIELD: IndexField(dimension=card.dimension, metric=metric)}),
    )


def indexes_of(collections: Collections, base: str) -> Indexes:
    """All of them."""
    return Indexes([index_of(card, base) for card in collections.collections])


def no_index(_: Dropped, __: str) -> NoIndex:
    """Pinecone's clients expect nothing."""
    return NoIndex()

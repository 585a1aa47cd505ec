"""What is asked of the records of a collection and what is answered: written, read, and searched, as Pinecone's API has it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from paceline.base.vectors_message import Answer, Message, Namespace, Values

MOST_K: Final = 10_000

Filter = Annotated[
    dict[str, Any] | None,
    Meta(
        description='Conditions on metadata: `{"year": {"$gte": 2000}}`; $eq $ne $in $nin $gt $gte $lt $lte $exists $and $or $not.'
    ),
]


class VectorItem(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """A record: its vector, or the text it is made of."""

    id: str
    values: Values | None = None
    metadata: dict[str, Any] | None = None
    text: Annotated[
        str | None,
        Meta(
            description="Embedded by the server and kept in the metadata; instead of `values`, or beside them."
        ),
    ] = None


class Upsert(Message, frozen=True):
    """Add records, or replace those of the same id; all of them or none."""

    vectors: list[VectorItem]
    namespace: Namespace = ""


class Upserted(Answer, frozen=True):
    """They are safe, as `vectors.durability` says, and found by the next search."""

    upserted_count: int


class Update(Message, frozen=True):
    """Change one record: `values` replaces its vector; fields of `setMetadata` replace, and null removes one."""

    id: str
    values: Values | None = None
    set_metadata: dict[str, Any] | None = None
    namespace: Namespace = ""


class Delete(Message, frozen=True):
    """Delete by id, by filter, or a whole namespace."""

    ids: list[str] | None = None
    filter: Filter = None
    delete_all: bool = False
    namespace: Namespace = ""


class Updated(Answer, frozen=True):
    """Done."""


class Deleted(Answer, frozen=True):
    """Done."""

    deleted_count: int = 0


class Fetch(Message, frozen=True):
    """Records by id; those that are not there are left out."""

    ids: list[str]
    namespace: Namespace = ""
    include_values: bool = True


class Fetched(Answer, frozen=True):
    """By id."""

    vectors: dict[str, VectorItem]
    namespace: str = ""


class ListIds(Message, frozen=True):
    """Ids in rising order, a page at a time."""

    prefix: str = ""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    pagination_token: Annotated[str | None, Meta(description="`next` of the page before.")] = None
    namespace: Namespace = ""


class ListedId(Answer, frozen=True):
    """One record."""

    id: str


class Page(Answer, frozen=True):
    """Where the next page begins."""

    next: str


class Listed(Answer, frozen=True):
    """A page; the last has no `pagination`."""

    vectors: list[ListedId]
    namespace: str = ""
    pagination: Page | None = None


class Query(Message, frozen=True):
    """The records nearest to a vector, to that of a record (`id`), or to both a vector and words (`text`)."""

    vector: Values | None = None
    id: str | None = None
    text: Annotated[
        str | None,
        Meta(
            description="Words that the records' text should have, ranked by BM25, fused with the vector's ranking."
        ),
    ] = None
    top_k: Annotated[int, Meta(description=f"1 to {MOST_K}.")] = 10
    filter: Filter = None
    namespace: Namespace = ""
    include_values: bool = False
    include_metadata: bool = False
    ef: Annotated[int | None, Meta(description="Vectors looked at, instead of the collection's setting.")] = (
        None
    )
    candidates: Annotated[int | None, Meta(description="Best of them scored again on the finer copy.")] = None
    exact: Annotated[bool, Meta(description="Score every record: the truth, for what it costs.")] = False
    weights: Annotated[
        tuple[float, float], Meta(description="Of the ranking by vector and of that by words.")
    ] = (1.0, 1.0)


class Search(Message, frozen=True):
    """The records nearest to a text, which the server embeds."""

    text: Annotated[str, Meta(min_length=1)]
    mode: Annotated[
        Literal["vector", "words", "hybrid"],
        Meta(description="By meaning, by words (BM25), or by both rankings, fused."),
    ] = "vector"
    top_k: int = 10
    filter: Filter = None
    namespace: Namespace = ""
    include_values: bool = False
    include_metadata: bool = True
    ef: int | None = None
    candidates: int | None = None
    exact: bool = False
    weights: tuple[float, float] = (1.0, 1.0)
    model: Annotated[str | None, Meta(description="Model that embeds the text.")] = None


class Matched(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One result; `score` is higher where it is nearer."""

    id: str
    score: float
    values: Values | None = None
    metadata: dict[str, Any] | None = None


class Queried(Answer, frozen=True):
    """The best, best first."""

    matches: list[Matched]
    namespace: str = ""
    partial: bool = False
    missing: Annotated[dict[str, str], Meta(description="Shards that were not searched, and why.")] = (
        msgspec.field(default_factory=dict)
    )

"""What is asked of collections of vectors and what they answer, shaped as Pinecone's API is.

One struct for each thing that can be asked; its type says what is to be done, so that one method answers all of them,
here, in another process, over HTTP or gRPC, or by another store: see `VectorService`. Names on the wire are camelCase.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from msgspec import Meta

MOST_K: Final = 10_000

Values = Annotated[
    list[float] | str,
    Meta(description="The numbers, or base64 of them as little-endian float32."),
]
Collection = Annotated[str, Meta(description="Collection; empty: the only one, or `vectors.collection`.")]
Namespace = Annotated[str, Meta(description="Part of the collection; the empty one is the default.")]
Filter = Annotated[
    dict[str, Any] | None,
    Meta(
        description='Conditions on metadata: `{"year": {"$gte": 2000}}`; $eq $ne $in $nin $gt $gte $lt $lte $exists $and $or $not.'
    ),
]


class _Message(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Something that is asked."""

    collection: Collection = ""


class _Answer(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Something that is answered."""


# -- records --------------------------------------------------------------------------------------------------


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


class Upsert(_Message, frozen=True):
    """Add records, or replace those of the same id; all of them or none."""

    vectors: list[VectorItem]
    namespace: Namespace = ""


class Upserted(_Answer, frozen=True):
    """They are safe, as `vectors.durability` says, and found by the next search."""

    upserted_count: int


class Update(_Message, frozen=True):
    """Change one record: `values` replaces its vector; fields of `setMetadata` replace, and null removes one."""

    id: str
    values: Values | None = None
    set_metadata: dict[str, Any] | None = None
    namespace: Namespace = ""


class Delete(_Message, frozen=True):
    """Delete by id, by filter, or a whole namespace."""

    ids: list[str] | None = None
    filter: Filter = None
    delete_all: bool = False
    namespace: Namespace = ""


class Updated(_Answer, frozen=True):
    """Done."""


class Deleted(_Answer, frozen=True):
    """Done."""

    deleted_count: int = 0


class Fetch(_Message, frozen=True):
    """Records by id; those that are not there are left out."""

    ids: list[str]
    namespace: Namespace = ""
    include_values: bool = True


class Fetched(_Answer, frozen=True):
    """By id."""

    vectors: dict[str, VectorItem]
    namespace: str = ""


class ListIds(_Message, frozen=True):
    """Ids in rising order, a page at a time."""

    prefix: str = ""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    pagination_token: Annotated[str | None, Meta(description="`next` of the page before.")] = None
    namespace: Namespace = ""


class ListedId(_Answer, frozen=True):
    """One record."""

    id: str


class Page(_Answer, frozen=True):
    """Where the next page begins."""

    next: str


class Listed(_Answer, frozen=True):
    """A page; the last has no `pagination`."""

    vectors: list[ListedId]
    namespace: str = ""
    pagination: Page | None = None


# -- search ---------------------------------------------------------------------------------------------------


class Query(_Message, frozen=True):
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


class Search(_Message, frozen=True):
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


class Queried(_Answer, frozen=True):
    """The best, best first."""

    matches: list[Matched]
    namespace: str = ""
    partial: bool = False
    missing: Annotated[dict[str, str], Meta(description="Shards that were not searched, and why.")] = {}


# -- collections ----------------------------------------------------------------------------------------------


class Describe(_Message, frozen=True):
    """What there is in a collection."""


class NamespaceCount(_Answer, frozen=True):
    """Of one namespace."""

    vector_count: int


class Described(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Counts, sizes, and what is wrong."""

    namespaces: dict[str, NamespaceCount]
    dimension: int
    index_fullness: float = 0.0
    total_vector_count: int
    metric: str = "cosine"
    vector_type: str = "dense"
    collection: str = ""
    version: int = 0
    details: dict[str, Any] = {}
    """`CollectionStats`, of each shard if there are several."""


class CreateCollection(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Make a collection. What is said here holds for all its life, but the precision."""

    name: str
    dimension: Annotated[int, Meta(description="Numbers of a vector; 0: those of the embedding model.")] = 0
    metric: Literal["cosine", "dot", "dotproduct", "l2", "euclidean"] = "cosine"
    precision: Literal["fp32", "fp16", "bf16", "int8", "binary"] = "int8"
    rescore: Literal["none", "fp16", "bf16", "fp32"] = "fp16"
    reduction: Literal["none", "truncate", "pca"] = "none"
    kept: int = 0
    sample: Annotated[list[Values] | None, Meta(description="Vectors from which `pca` learns.")] = None
    shards: Annotated[int, Meta(ge=1, le=256)] = 1
    text_field: Annotated[
        str, Meta(description="Field of the metadata whose words are indexed for hybrid search; empty: none.")
    ] = "text"


class CollectionCard(_Answer, frozen=True):
    """A collection as it is listed."""

    name: str
    dimension: int
    metric: str
    precision: str
    records: int
    version: int
    shards: int = 1
    ef: int = 0
    candidates: int = 0
    promise: Annotated[str, Meta(description="The recall that is held by checks, and whether it does.")] = ""


class ListCollections(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """All there are."""


class Collections(_Answer, frozen=True):
    """All there are, by name."""

    collections: list[CollectionCard]


class DescribeCollection(_Message, frozen=True):
    """One of them."""


class DropCollection(_Message, frozen=True):
    """Delete a collection and all its records."""


class Dropped(_Answer, frozen=True):
    """Done."""


# -- care -----------------------------------------------------------------------------------------------------


class Tune(_Message, frozen=True):
    """Find the quickest setting that holds a recall on real queries, and keep to it."""

    recall: float
    k: int = 10
    confidence: float = 0.95
    namespace: Namespace = ""
    vectors: Annotated[
        list[Values] | None, Meta(description="Queries to measure on; without: those that were asked last.")
    ] = None
    apply: Annotated[
        bool, Meta(description="Use the setting from now on, and check it as records change.")
    ] = True


class TunedLevel(msgspec.Struct, frozen=True, rename="camel"):
    """One setting, measured."""

    ef: int
    candidates: int
    recall: float
    bound: float
    p50_ms: float
    p99_ms: float
    qps: float


class Tuned(msgspec.Struct, frozen=True, rename="camel"):
    """Settings from the most thorough to the quickest; `chosen` is null if none is sure to hold the recall."""

    k: int
    target: float
    confidence: float
    queries: int
    levels: list[TunedLevel]
    chosen: TunedLevel | None
    applied: bool


class ComparePrecisions(_Message, frozen=True):
    """Measure what each precision would give: recall and bytes of a vector, on a sample of the collection's own."""

    k: Annotated[int, Meta(ge=1, le=100)] = 10


class ComparedPrecision(msgspec.Struct, frozen=True, rename="camel"):
    """One precision, measured; `refused` says why it could not be changed to."""

    precision: str
    recall: float
    code_bytes: int
    graph_bytes: int
    fine_bytes: int
    qps: float
    refused: str


class Precisions(msgspec.Struct, frozen=True, rename="camel"):
    """All precisions, the largest first; of `rows` vectors and `queries` others."""

    k: int
    ef: int
    candidates: int
    rows: int
    queries: int
    current: str
    rescore: str
    levels: list[ComparedPrecision]


class Reencode(_Message, frozen=True):
    """Hold the vectors that are searched in another precision; searches go on meanwhile."""

    precision: Literal["fp32", "fp16", "bf16", "int8", "binary"]


class Compact(_Message, frozen=True):
    """Join all segments under one graph, and wait for it."""


class Verify(_Message, frozen=True):
    """Read all files against their checksums; what was changed is set aside."""


class Verified(_Answer, frozen=True):
    """Segments that were changed after they were written, and why they are left out."""

    damaged: dict[str, str] = {}


class Reshard(_Message, frozen=True):
    """Spread the collection over another number of shards; reads and writes go on."""

    shards: Annotated[int, Meta(ge=1, le=256)]


class Resharded(_Answer, frozen=True):
    """How much moved."""

    slots_moved: int
    records_moved: int


class Snapshot(_Message, frozen=True):
    """Keep the collection as it is now under a name; reads and writes go on."""

    name: str


class Snapshots(_Answer, frozen=True):
    """Names of the snapshots that are kept, by collection."""

    snapshots: dict[str, list[str]]


class ListSnapshots(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """All that are kept."""


class Restore(_Message, frozen=True):
    """Make a collection of a snapshot, which is one of `source`'s."""

    source: str
    name: str


Asked = (
    Upsert | Update | Delete | Fetch | ListIds | Query | Describe | CreateCollection | ListCollections
    | DescribeCollection | DropCollection | Tune | ComparePrecisions | Reencode | Compact | Verify | Reshard | Snapshot | ListSnapshots
    | Restore
)  # fmt: skip
"""All that a `VectorService` answers. `Search` is not among them: it needs a model, which serving has."""

ANSWER: Final[dict[type[Any], type[Any]]] = {
    Upsert: Upserted,
    Update: Updated,
    Delete: Deleted,
    Fetch: Fetched,
    ListIds: Listed,
    Query: Queried,
    Describe: Described,
    CreateCollection: CollectionCard,
    ListCollections: Collections,
    DescribeCollection: CollectionCard,
    DropCollection: Dropped,
    Tune: Tuned,
    ComparePrecisions: Precisions,
    Reencode: CollectionCard,
    Compact: CollectionCard,
    Verify: Verified,
    Reshard: Resharded,
    Snapshot: Snapshots,
    ListSnapshots: Snapshots,
    Restore: CollectionCard,
}
"""What each is answered with."""


class VectorService(Protocol):
    """Collections of one process, of another process, or of another store."""

    def hit(self, query: Query) -> Queried | None:
        """The answer when it is in memory, at once."""
        ...

    async def answer(self, asked: Any, *, deadline_at: float) -> Any:
        """The answer, of the type `ANSWER` says; `deadline_at` is an instant of `time.monotonic`.

        InvalidRequest, NotFound, DeadlineExceeded, StorageError and its kinds, Unreachable.
        """
        ...

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Counters by area."""
        ...

    def health(self) -> Mapping[str, object]:
        """State, for `/health`; `status` is `ok`, `failing` or `starting`."""
        ...

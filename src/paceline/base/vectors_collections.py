"""What is asked of collections as a whole and what is answered: made, listed, tuned, re-encoded, spread, kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from paceline.base.vectors_message import Answer, Message, Namespace, Values


class Describe(Message, frozen=True):
    """What there is in a collection."""


class NamespaceCount(Answer, frozen=True):
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


class CollectionCard(Answer, frozen=True):
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


class Collections(Answer, frozen=True):
    """All there are, by name."""

    collections: list[CollectionCard]


class DescribeCollection(Message, frozen=True):
    """One of them."""


class DropCollection(Message, frozen=True):
    """Delete a collection and all its records."""


class Dropped(Answer, frozen=True):
    """Done."""


class Tune(Message, frozen=True):
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


class ComparePrecisions(Message, frozen=True):
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


class Reencode(Message, frozen=True):
    """Hold the vectors that are searched in another precision; searches go on meanwhile."""

    precision: Literal["fp32", "fp16", "bf16", "int8", "binary"]


class Compact(Message, frozen=True):
    """Join all segments under one graph, and wait for it."""


class Verify(Message, frozen=True):
    """Read all files against their checksums; what was changed is set aside."""


class Verified(Answer, frozen=True):
    """Segments that were changed after they were written, and why they are left out."""

    damaged: dict[str, str] = msgspec.field(default_factory=dict)


class Reshard(Message, frozen=True):
    """Spread the collection over another number of shards; reads and writes go on."""

    shards: Annotated[int, Meta(ge=1, le=256)]


class Resharded(Answer, frozen=True):
    """How much moved."""

    slots_moved: int
    records_moved: int


class Snapshot(Message, frozen=True):
    """Keep the collection as it is now under a name; reads and writes go on."""

    name: str


class Snapshots(Answer, frozen=True):
    """Names of the snapshots that are kept, by collection."""

    snapshots: dict[str, list[str]]


class ListSnapshots(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """All that are kept."""


class Restore(Message, frozen=True):
    """Make a collection of a snapshot, which is one of `source`'s."""

    source: str
    name: str

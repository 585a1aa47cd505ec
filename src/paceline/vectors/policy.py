"""Settings of vector collections: what is fixed when one is made, and how it writes, searches and keeps itself."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from paceline.base.errors import InvalidRequest
from paceline.base.knob import knob
from paceline.vectors.codes import Precision
from paceline.vectors.metric import Metric
from paceline.vectors.preprocess import Reduction

Fsync = Literal["always", "interval", "never"]
Backend = Literal["paceline", "qdrant", "pgvector"]
Rescore = Literal["none", "fp16", "bf16", "fp32"]


USUAL_EF: Final = 100
"""The default of hnswlib's users and of this store's tables: of most graphs it finds 0.97 to 0.99."""


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a collection holds: said when it is made, and the same for all its life."""

    dimensions: Annotated[int, knob("Numbers in a vector.", ge=1, le=65_536, unit="dimensions")]
    metric: Annotated[Metric, knob("What near means.", quality=True)] = "cosine"
    precision: Annotated[Precision, knob("How the vectors that are searched are held.", quality=True)] = (
        "int8"
    )
    rescore: Annotated[
        Rescore,
        knob(
            "Copy on which the best candidates are scored again; `none` only for fp32, fp16, bf16.",
            quality=True,
        ),
    ] = "fp16"
    reduction: Annotated[Reduction, knob("How dimensions are left out.", quality=True)] = "none"
    kept: Annotated[int, knob("Dimensions that are kept; 0 keeps all.", ge=0, le=65_536, quality=True)] = 0
    text_field: Annotated[
        str, knob("Field of the metadata whose words are indexed for search by words; empty: none.")
    ] = ""

    def __post_init__(self) -> None:
        if self.rescore == "none" and self.precision in {"int8", "binary"}:
            raise InvalidRequest(
                f"precision {self.precision!r} without a copy to re-score on would lose the vectors; use rescore fp16",
                param="rescore",
            )
        if self.text_field.startswith("$"):
            raise InvalidRequest(
                f"text_field is {self.text_field!r}; no field begins with $, name one of the metadata",
                param="text_field",
            )
        if self.kept > self.dimensions or (
            self.reduction == "none" and self.kept not in {0, self.dimensions}
        ):
            raise InvalidRequest(
                f"{self.kept} of {self.dimensions} dimensions cannot be kept by reduction {self.reduction!r}; "
                "keep fewer, by truncate or pca",
                param="kept",
            )

    @property
    def stored(self) -> int:
        """Numbers of a vector that are stored."""
        return self.kept or self.dimensions

    @property
    def largest(self) -> float:
        """Largest size of a number that the stored precision holds."""
        narrow = "fp16" in {self.rescore, self.precision} and self.metric != "cosine"
        return 65_504.0 if narrow else 1e18  # the square of the latter is still a float32


class DurabilityPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a write counts as done."""

    fsync: Annotated[
        Fsync,
        knob(
            "`always`: when the disk has it (writers at the same time share one fsync). `interval`: when the operating "
            "system has it; a power cut loses the last interval, a killed process nothing. `never`: as `interval`, "
            "and the operating system chooses when.",
            cost="latency",
        ),
    ] = "always"
    interval_ms: Annotated[
        float, knob("Time between two fsyncs under `interval`.", ge=1, le=60_000, unit="ms")
    ] = 100.0
    most_batch: Annotated[int, knob("Records in one write.", ge=1, le=1_000_000, unit="records")] = 10_000


class SearchPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The graph, and how far a search goes in it."""

    m: Annotated[
        int,
        knob("Neighbours of a vector on each level of the graph.", ge=2, le=512, quality=True, cost="memory"),
    ] = 16
    ef_construction: Annotated[
        int, knob("Candidates for the neighbours of a vector.", ge=1, le=10_000, quality=True, cost="cpu")
    ] = 200
    ef: Annotated[
        int,
        knob(
            "How far a search looks: about so many vectors, unless it says otherwise. 0: 100, or more where `recall` needs more.",
            ge=0,
            le=10_000,
            live=True,
            tune=True,
            quality=True,
            cost="latency",
            grid=(16, 32, 64, 100, 150, 250, 400),
        ),
    ] = 0
    recall: Annotated[
        float,
        knob(
            "Share of the ten nearest that a search shall find where no `ef` is set: it looks as far as found so much among "
            "records left out while the graph was built.",
            ge=0,
            le=0.999,
            live=True,
            quality=True,
            cost="latency",
        ),
    ] = 0.98
    candidates: Annotated[
        int,
        knob(
            "Best vectors that are scored again on the finer copy.",
            ge=0,
            le=1024,
            live=True,
            tune=True,
            quality=True,
            cost="latency",
            grid=(0, 16, 24, 32, 64, 128),
        ),
    ] = 32
    threads: Annotated[
        int, knob("Threads for the queries of one call.", ge=1, le=1024, unit="threads", cost="cpu")
    ] = 1

    @property
    def usual_ef(self) -> int:
        """How far a search looks where nothing is known of the graph."""
        return self.ef or USUAL_EF


class UpkeepPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When fresh writes become files, when files are joined under one graph, and what that may take."""

    seal_rows: Annotated[
        int,
        knob(
            "Fresh records that are written as a segment.",
            ge=16,
            le=1_000_000,
            unit="records",
            cost="latency",
        ),
    ] = 16_384
    log_mb: Annotated[
        int,
        knob("Log at which fresh records are written as a segment, however few.", ge=1, le=4096, unit="MiB"),
    ] = 256
    quick_rows: Annotated[
        int,
        knob(
            "Fresh records from which they have a graph, which grows behind the writes and goes into the segment; fewer "
            "are scanned until they are joined.",
            ge=16,
            unit="records",
            cost="latency",
        ),
    ] = 2_000
    most_sealing: Annotated[
        int, knob("Full sets of fresh records not yet written, at which writers wait.", ge=1, le=64)
    ] = 4
    graph_rows: Annotated[
        int,
        knob(
            "Records without a graph at which one is built; below, they are scanned.",
            ge=16,
            le=10_000_000,
            unit="records",
            cost="latency",
        ),
    ] = 10_000
    most_rows: Annotated[
        int, knob("Records of one segment at most.", ge=1_000, le=1 << 29, unit="records", cost="memory")
    ] = 4_000_000
    dead_share: Annotated[
        float, knob("Deleted share of a segment at which it is rewritten.", gt=0, le=1, cost="latency")
    ] = 0.2
    threads: Annotated[
        int,
        knob(
            "Threads that build a graph; 0 takes half of this process's cores.",
            ge=0,
            le=1024,
            unit="threads",
            cost="cpu",
        ),
    ] = 0
    process_rows: Annotated[
        int,
        knob(
            "Records from which a graph is built in a process of its own, of lowest priority.",
            ge=0,
            unit="records",
        ),
    ] = 20_000
    verify_at_open: Annotated[
        bool, knob("Read all files against their checksums after opening, in the background.")
    ] = False


class ShardPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a collection of several shards works with them."""

    processes: Annotated[
        bool,
        knob(
            "A process for each shard: searches share no interpreter, and a crash costs one shard only.",
            cost="memory",
        ),
    ] = False
    timeout_s: Annotated[
        float,
        knob("Time after which a search goes on without a shard, and names it.", gt=0, le=3600, unit="s"),
    ] = 10.0
    write_timeout_s: Annotated[
        float, knob("Time after which a write to a shard has failed.", gt=0, le=3600, unit="s")
    ] = 60.0


class VectorsPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where collections are, and how they work."""

    folder: Annotated[str, knob("Folder of the collections; empty: the server keeps none.")] = ""
    collection: Annotated[str, knob("Collection that is meant when several exist and none is named.")] = (
        "default"
    )
    backend: Annotated[
        Backend,
        knob("What keeps the collections: Paceline in `folder`, or a Qdrant or PostgreSQL server at `url`."),
    ] = "paceline"
    url: Annotated[str, knob("Address of the other store.")] = ""
    api_key: Annotated[str, knob("Key of the other store.", secret=True)] = ""
    threads: Annotated[
        int,
        knob(
            "Threads that read for callers at the same time, and as many that write.",
            ge=1,
            le=256,
            unit="threads",
            cost="cpu",
        ),
    ] = 8
    recheck_s: Annotated[
        float,
        knob(
            "Least time between two checks of a promised recall; without a write in between there is none.",
            ge=1,
            unit="s",
            live=True,
            cost="cpu",
        ),
    ] = 600.0
    durability: DurabilityPolicy = DurabilityPolicy()
    search: SearchPolicy = SearchPolicy()
    upkeep: UpkeepPolicy = UpkeepPolicy()
    shards: ShardPolicy = ShardPolicy()

    @property
    def on(self) -> bool:
        """Whether there are collections to serve."""
        return bool(self.folder) or self.backend != "paceline"

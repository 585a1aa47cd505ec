"""What so many vectors will need, before any of them is there: memory, disk, time and hosts, from what a row is made of.

The bytes are those of the formats (`codes.py`, `graph.py`, `segment.py`, `tail.py`) and are tested against a real
collection. Times are measured ones, scaled by how they were found to grow; give `Rates` of your own host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from paceline.base.errors import InvalidRequest
from paceline.vectors.codes import CoderShape, Precision, row_bytes_of
from paceline.vectors.metric import Metric
from paceline.vectors.policy import Rescore, Schema, VectorsPolicy
from paceline.vectors.record import MOST_METADATA_BYTES
from paceline.vectors.slots import MOST_SHARDS

_GIB: Final = 1 << 30
_PROCESS_BYTES: Final = 190 << 20
"""Interpreter, numpy, compiled functions: resident before the first record, of each process."""
_OWN_BYTES: Final = 103 << 20
"""Of these what a second process does not share with the first, which maps the same libraries."""
_FRESH_BYTES: Final = 250
"""Of a fresh record beside its numbers, codes, links and metadata: name and places as Python objects, hash, buffers; of
62,000 rows 2,260 bytes each were measured, 2,056 of which are the former (`benchmarks/vectors_plan.py --fresh`)."""
_COLUMN_BYTES: Final = 6
"""Of a joined row for each byte of its metadata, which become columns by way of Python objects: two fields of 36 bytes
took 224."""
_JOINED_BYTES: Final = 8 + 8
"""Of a row that is joined beside what is written of it: its number, as it is sent and as it is read, and the order of
the hashes."""
_LEARNED_FROM: Final = 16_384
_LEARNED_BYTES: Final = 8
"""Of a number of the rows that int8 learns its scale from, twice as float32: 6 to 11 were measured."""
_DIRECTORY: Final = 8 + 4
"""Hash of the name, and its row (`directory.py`)."""
_PLACES: Final = 8 + 8 + 4
"""Where id and metadata begin, and the namespace's number (`segment.py`)."""

_SEGMENT_BYTES: Final = 8 << 10
"""Head and headers of about 20 arrays."""


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What estimates of time begin with; of one core. Measure your own host and hand it over.

    Of int8 vectors at the default settings, `benchmarks/vectors_plan.py` on one core of a Zen 5 in November 2026, between
    two corpora: embedded glosses of WordNet take 126 us to join and 0.068 ms to search where clustered ones take 101 and
    0.060. From 20,000 to 500,000 vectors all of it is within a quarter of what is measured (`test_capacity`).
    """

    rows: int = 100_000
    """Vectors in the graph of the figures that follow."""
    dimensions: int = 384
    load_us: float = 33.0
    """Of a vector: checked, logged and synced in batches of 1,000, written as a segment; by one thread."""
    build_us: float = 113.0
    """Of a vector of one join: its source read and checked, linked, written and synced."""
    graph_s: float = 0.45
    """Of a graph however small: compiled functions are made ready, what it finds is measured, files are synced."""
    process_s: float = 0.45
    """On top where a process of its own joins (`vectors.upkeep.process_rows`): its start."""
    search_ms: float = 0.064
    """Of one query through the graph."""
    build_doubled: float = 0.10
    """Share of `build_us` that comes on top when the graph doubles."""
    search_doubled: float = 0.14
    """The same of `search_ms`. A walk's steps grow with the logarithm of the rows (Malkov and Yashunin 2016), which is
    0.06 here; the rest is caches, which hold ever less of the rows."""
    fixed: float = 0.5
    """Share that does not grow with the dimensions; of 96 to 768."""
    shard_ms: float = 0.15
    """For a shard's call and the merging of its answer; assumed."""

    def load_s(self, rows: float, dimensions: int) -> float:
        """Seconds to write so many vectors."""
        return 1e-6 * rows * self.load_us * self._wider(dimensions)

    def join_s(self, rows: float, of_segment: int, dimensions: int) -> float:
        """Seconds of one core to bring `rows` under graphs of `of_segment` each."""
        grown = self._grown(self.build_doubled, of_segment)
        return 1e-6 * rows * self.build_us * grown * self._wider(dimensions)

    def query_ms(self, of_segment: int, dimensions: int) -> float:
        """Milliseconds of one core to search a graph."""
        return self.search_ms * self._grown(self.search_doubled, of_segment) * self._wider(dimensions)

    def _grown(self, doubled: float, rows: int) -> float:
        return max(0.1, 1 + doubled * math.log2(rows / self.rows))

    def _wider(self, dimensions: int) -> float:
        return self.fixed + (1 - self.fixed) * dimensions / self.dimensions


class RowBytes(msgspec.Struct, frozen=True):
    """Bytes of one vector, by what they are."""

    codes: int
    graph: float
    directory: int
    places: int
    fine: int
    lengths: int
    id: int
    metadata: int

    @property
    def held(self) -> float:
        """What searches go through: `CollectionStats.held_bytes`."""
        return self.codes + self.graph

    @property
    def resident(self) -> float:
        """What must be in memory for searches and writes to wait for no disk, but for the finer copy."""
        return self.held + self.directory + self.places

    @property
    def disk(self) -> float:
        """All that is in a segment: `CollectionStats.disk_bytes`."""
        return self.resident + self.fine + self.lengths + self.id + self.metadata


class Plan(msgspec.Struct, frozen=True):
    """What a collection needs. Bytes, seconds, milliseconds; of all shards together unless the name says otherwise."""

    vectors: int
    dimensions: int
    shards: int
    precision: str
    rescore: str
    m: int
    row: RowBytes
    segments_per_shard: int
    segment_disk: float
    """Of a segment beside its rows."""
    shard_memory: float
    """Of one shard: its resident rows, fresh records at their most, its process."""
    fine_memory: float
    """The finer copy, for the page cache: without it each candidate of a query may be a read of the disk."""
    join_memory: float
    """While the largest segment of a shard is joined, beside the rest; one join at a time on a host is planned."""
    log_disk: float
    join_disk: float
    """A new segment beside those it is joined of, in every shard at once."""
    snapshot_disk: float
    """Of one snapshot once all it links has been rewritten; nothing when it is taken."""
    ram_gb: float
    cores: int
    hosts: int
    """0: no shard fits on a host."""
    build_threads: int
    """Of each host, for joins."""
    build_s: float
    """To write all and bring it under graphs: the shards of a host are written side by side, then joined in turn."""
    query_cpu_ms: float
    """Of all shards together, for one query."""
    query_ms: float
    """Until the last shard has answered, on idle hosts."""
    queries_per_s: float
    """Of all hosts, with every core busy."""

    @property
    def memory(self) -> float:
        """Of all shards."""
        return self.shards * self.shard_memory

    @property
    def rows_disk(self) -> float:
        """Of all segments."""
        return self.vectors * self.row.disk + self.shards * self.segments_per_shard * self.segment_disk

    @property
    def disk(self) -> float:
        """Of everything, with room for joins and for one snapshot."""
        return self.rows_disk + self.log_disk + self.join_disk + self.snapshot_disk

    def text(self) -> str:
        """As lines of a terminal."""
        row = self.row
        lines = [
            (
                f"{self.vectors:,} vectors of {self.dimensions} dimensions in {self.shards} "
                f"{'shard' if self.shards == 1 else 'shards'}; {self.precision}, re-scored on {self.rescore}, M {self.m}"
            ),
            "",
            *_columns(
                ("bytes of a vector", "", ""),
                ("  codes", f"{row.codes:,.0f}", "searched"),
                ("  graph", f"{row.graph:,.1f}", "searched"),
                ("  directory, places", f"{row.directory + row.places:,.0f}", "in memory"),
                ("  finer copy", f"{row.fine + row.lengths:,.0f}", "read for candidates"),
                ("  id, metadata", f"{row.id + row.metadata:,.0f}", "read for answers"),
                ("  all, on disk", f"{row.disk:,.1f}", ""),
                ("", "", ""),
                ("memory", "", ""),
                ("  a shard", _size(self.shard_memory), f"{_counted(self.segments_per_shard, 'segment')}"),
                ("  all shards", _size(self.memory), ""),
                ("  finer copy, cached", _size(self.fine_memory), "as much of it as there is room for"),
                ("  a join", _size(self.join_memory), "for a time; one on a host"),
                ("", "", ""),
                ("disk", "", ""),
                ("  segments", _size(self.rows_disk), ""),
                ("  log", _size(self.log_disk), "at most"),
                ("  room for joins", _size(self.join_disk), ""),
                ("  room for a snapshot", _size(self.snapshot_disk), "once all of it was rewritten"),
                ("  all", _size(self.disk), ""),
                ("", "", ""),
                ("time", "", ""),
                (
                    "  loading, joining",
                    _span(self.build_s),
                    f"{_counted(self.build_threads, 'thread')} a host join",
                ),
                ("  a query", f"{self.query_ms:,.2f} ms", f"{self.query_cpu_ms:,.2f} ms of cores"),
                ("  queries a second", f"{self.queries_per_s:,.0f}", "all cores busy"),
            ),
            "",
            self._hosts_text(),
        ]
        return "\n".join(line.rstrip() for line in lines)

    def _hosts_text(self) -> str:
        host = f"{self.ram_gb:g} GiB and {_counted(self.cores, 'core')}"
        if self.hosts:
            return f"{_counted(self.hosts, 'host')} of {host}"
        needed = self.shard_memory + self.join_memory
        return (
            f"no host of {host} holds a shard and its join, {_size(needed)}; take more shards or larger hosts"
        )


def plan(  # noqa: PLR0913 - keywords, each with a default
    vectors: int,
    dimensions: int,
    *,
    shards: int = 1,
    precision: Precision = "int8",
    rescore: Rescore = "fp16",
    metric: Metric = "cosine",
    m: int = 16,
    id_bytes: int = 16,
    metadata_bytes: int = 0,
    ram_gb: float = 64.0,
    cores: int = 16,
    rates: Rates = Rates(),  # noqa: B008 - frozen
    policy: VectorsPolicy = VectorsPolicy(),  # noqa: B008 - frozen
) -> Plan:
    """What `vectors` of so many `dimensions` need in `shards`, on hosts of `ram_gb` GiB and `cores`.

    `metadata_bytes`: of a record, as msgpack, about that of compact JSON; its columns for filters are counted as much
    again. InvalidRequest names what is out of range.
    """
    _checked(
        vectors=(vectors, 1, 10**12), dimensions=(dimensions, 1, 65_536), shards=(shards, 1, MOST_SHARDS)
    )
    _checked(
        m=(m, 2, 512), id_bytes=(id_bytes, 1, 512), metadata_bytes=(metadata_bytes, 0, MOST_METADATA_BYTES)
    )
    _checked(ram_gb=(ram_gb, 0.1, 1e6), cores=(cores, 1, 10_000))
    schema = Schema(dimensions, metric, precision, rescore)
    row = row_bytes(schema, m, id_bytes, metadata_bytes)
    upkeep = policy.upkeep
    of_shard = math.ceil(vectors / shards)
    segments = math.ceil(of_shard / upkeep.most_rows)
    of_segment = math.ceil(of_shard / segments)
    fresh = min(of_shard, (upkeep.most_sealing + 1) * upkeep.seal_rows)
    # Full sets of fresh records that wait and one that is filled, and the segment that is made of one.
    scanned = row_bytes_of(CoderShape("int8", metric, dimensions)) if precision in {"int8", "binary"} else 0
    fresh_row = (
        row_bytes_of(CoderShape("fp32", metric, dimensions))
        + scanned
        + row.graph
        + metadata_bytes
        + _FRESH_BYTES
    )
    shard_memory = (
        of_shard * row.resident
        + fresh * fresh_row
        + min(of_shard, upkeep.seal_rows) * row.disk
        + _PROCESS_BYTES
    )
    join_memory = _OWN_BYTES + max(
        _learning_bytes(schema, of_segment, row), _writing_bytes(schema, of_segment, row, metadata_bytes)
    )
    log = min(
        fresh * (4 * dimensions + id_bytes + metadata_bytes + 8),
        (upkeep.most_sealing + 1) * (upkeep.log_mb << 20),
    )
    on_host = int((ram_gb * _GIB - join_memory) // shard_memory)
    hosts = math.ceil(shards / on_host) if on_host > 0 else 0
    all_cores = max(1, hosts) * cores
    shards_on_host = math.ceil(shards / max(1, hosts))
    threads = min(cores, upkeep.threads or max(1, cores // 2))
    # Shards of a host are written side by side, and joined one after another.
    load_s = rates.load_s(of_shard, dimensions) * math.ceil(shards_on_host / cores)
    start_s = rates.graph_s if of_segment >= upkeep.graph_rows else 0.0
    start_s += rates.process_s if of_segment >= upkeep.process_rows else 0.0
    join_s = rates.join_s(of_shard, of_segment, dimensions) / threads + segments * start_s
    search_ms = segments * rates.query_ms(of_segment, dimensions) + (rates.shard_ms if shards > 1 else 0)
    waves = math.ceil(shards_on_host / cores)  # of shards that a host searches one after another
    return Plan(
        vectors=vectors,
        dimensions=dimensions,
        shards=shards,
        precision=precision,
        rescore=rescore,
        m=m,
        row=row,
        segments_per_shard=segments,
        # Its head and the headers of its arrays; binary codes are turned by a matrix (`codes.py`).
        segment_disk=_SEGMENT_BYTES + (4.0 * dimensions**2 if precision == "binary" else 0.0),
        shard_memory=shard_memory,
        fine_memory=float(vectors * row.fine),
        join_memory=join_memory,
        log_disk=float(shards * log),
        join_disk=shards * of_segment * row.disk,
        snapshot_disk=vectors * row.disk,
        ram_gb=ram_gb,
        cores=cores,
        hosts=hosts,
        build_threads=threads,
        build_s=load_s + join_s * shards_on_host,
        query_cpu_ms=shards * search_ms,
        query_ms=waves * search_ms,
        queries_per_s=1000 * all_cores / (shards * search_ms),
    )


def row_bytes(schema: Schema, m: int = 16, id_bytes: int = 16, metadata_bytes: int = 0) -> RowBytes:
    """Bytes of one vector in a segment under a graph."""
    coder = CoderShape(schema.precision, schema.metric, schema.stored)
    fine = 0
    if schema.rescore != "none":
        fine = row_bytes_of(CoderShape(schema.rescore, schema.metric, schema.stored))
    return RowBytes(
        codes=row_bytes_of(coder),
        # 2M links of 4 bytes on the base level and where the upper ones begin; of M vectors one is on the next level
        # (Malkov and Yashunin 2016), so there are 1 / (M - 1) upper levels to a vector, of M links each.
        graph=4 * (2 * m + 1 + m / (m - 1)),
        directory=_DIRECTORY,
        places=_PLACES,
        fine=fine,
        lengths=4 if schema.metric == "cosine" else 0,
        id=id_bytes,
        metadata=2 * metadata_bytes,
    )


def _learning_bytes(schema: Schema, rows: int, row: RowBytes) -> float:
    """Of a join that takes its sample: the finer copy is there already, and codes are not yet."""
    if schema.rescore == "none":
        return 0.0
    sample = len(range(0, rows, max(1, rows // _LEARNED_FROM)))
    return rows * row.fine + _LEARNED_BYTES * sample * schema.stored


def _writing_bytes(schema: Schema, rows: int, row: RowBytes, metadata_bytes: int) -> float:
    """Of a join that writes, when all of the new segment is in memory.

    Of binary codes the int8 ones, too, that the graph is built on; vectors are decoded a block at a time (`contents.joined`).
    """
    is_binary = schema.precision == "binary"
    walked = row_bytes_of(CoderShape("int8", schema.metric, schema.dimensions)) if is_binary else 0
    return rows * (row.disk + walked + _COLUMN_BYTES * metadata_bytes + _JOINED_BYTES)


def _checked(**given: tuple[float, float, float]) -> None:
    for name, (value, least, most) in given.items():
        if not least <= value <= most:
            raise InvalidRequest(f"{name} is {value:,}; plan for {least:,} to {most:,}", param=name)


def _columns(*lines: Sequence[str]) -> list[str]:
    return [f"{name:<22} {value:>12}  {note}" for name, value, note in lines]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _size(octets: float) -> str:
    for unit, size in (("TiB", 1 << 40), ("GiB", _GIB)):
        if octets >= size:
            return f"{octets / size:,.2f} {unit}"
    return f"{octets / (1 << 20):,.1f} MiB"


def _span(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:,.1f} min" if seconds >= 60 else f"{seconds:,.1f} s"

"""A segment: an immutable folder of records, memory-mapped, with a graph over them or without.

    segment.json     `SegmentHead`: what is in it, and the length and checksum of every file
    codes.npy        rows that are searched; fine.npy: the finer copy on which the best are scored again
    graph.*.npy      neighbours; only where there is a graph
    ids, metadata    byte strings, end to end, and where each begins
    directory.*      rows by the hash of their name
    columns.*        metadata by field, for filters

A reader trusts numbers by which it finds its way (neighbours, places): these files are checked when a segment is
opened, so that a flipped bit in them cannot lead outside of the map. The others cost too long for that, and a flipped
bit in them changes a score; `verify` finds it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from paceline.base.errors import StorageDamaged
from paceline.vectors.array_folder import Arrays, Files, check_arrays, map_arrays, write_arrays
from paceline.vectors.bitmap import Bitmap, bitmap_of, size_of
from paceline.vectors.codes import Coded, Coder, CoderShape
from paceline.vectors.columns import Columns
from paceline.vectors.directory import Directory
from paceline.vectors.disk import made_folder, told
from paceline.vectors.exact import ExactSearch
from paceline.vectors.filters import Filter
from paceline.vectors.finding import Finding, least_ef
from paceline.vectors.graph import Graph
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.metadata import Types
from paceline.vectors.metric import Floats
from paceline.vectors.packed import Packed
from paceline.vectors.planner import Planner
from paceline.vectors.record import Key
from paceline.vectors.searched import Results
from paceline.vectors.steps import Step

HEAD: Final = "segment.json"
_NOT_TRUSTED: Final = ("codes", "fine", "lengths", "ids.octets", "metadata.octets")
"""Arrays in which any bits are safe to read."""
_MASKS_KEPT: Final = 64
_TOUCHED_BYTES: Final = 64 << 20
_PAGE_BYTES: Final = 4096


class GraphShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a search of the graph begins, and how it was built."""

    entry: int
    levels: int
    quick: bool = False
    """Over fresh records, with less care than the policy's: until a join builds another."""
    findings: list[Finding] = []
    """What it found while it was built; of formats before 3 nothing."""


class SegmentHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a segment is."""

    rows: int
    coder: CoderShape
    fine: CoderShape | None
    graph: GraphShape | None
    namespaces: list[str]
    files: Files


class SegmentContent(msgspec.Struct, frozen=True, eq=False):
    """What a segment is made of."""

    ids: Packed
    metadata: Packed
    hashes: NDArray[np.uint64]  # (n,)
    namespace_of: NDArray[np.uint32]  # (n,) places in `namespaces`
    namespaces: list[str]
    lengths: Floats  # (n,) what vectors were divided by under cosine; otherwise (0,)
    coded: Coded
    fine: Coded | None
    graph: Graph | None
    columns: Columns
    quick: bool = False
    """Whether the graph is `GraphShape.quick`."""
    findings: list[Finding] = []
    """As of `GraphShape`."""

    def arrays(self) -> Arrays:
        """All there is to write, by name."""
        directory = Directory.of(self.hashes)
        named: dict[str, NDArray[Any]] = {
            "codes": self.coded.rows,
            "lengths": self.lengths,
            "namespace_of": self.namespace_of,
            "ids.at": self.ids.at,
            "ids.octets": self.ids.octets,
            "metadata.at": self.metadata.at,
            "metadata.octets": self.metadata.octets,
            "directory.hashes": directory.hashes,
            "directory.rows": directory.rows,
        }
        named |= _prefixed("coder", self.coded.coder.arrays())
        named |= _prefixed("columns", self.columns.arrays())
        if self.fine is not None:
            named |= {"fine": self.fine.rows, **_prefixed("fine_coder", self.fine.coder.arrays())}
        if self.graph is not None:
            graph = {"base": self.graph.base, "upper": self.graph.upper, "upper_at": self.graph.upper_at}
            named |= _prefixed("graph", graph)
        return named


def write_segment(folder: Path, content: SegmentContent) -> str:
    """Write a segment that survives a power cut; returns the checksum of its head. StorageError, StorageFull."""
    with made_folder(folder) as part:
        head = SegmentHead(
            rows=len(content.ids),
            coder=content.coded.coder.shape,
            fine=None if content.fine is None else content.fine.coder.shape,
            graph=None
            if content.graph is None
            else GraphShape(content.graph.entry, content.graph.levels, content.quick, content.findings),
            namespaces=content.namespaces,
            files=write_arrays(part, content.arrays()),
        )
        text = msgspec.json.format(msgspec.json.encode(head))
        (part / HEAD).write_bytes(text)
    return xxhash.xxh3_128_hexdigest(text)


class Segment:
    """An open segment; immutable, safe for any number of threads at once."""

    def __init__(self, folder: Path, head: SegmentHead, arrays: Arrays) -> None:
        self.folder = folder
        self.head = head
        self.ids = Packed(arrays["ids.at"], arrays["ids.octets"])
        self.packed_metadata = Packed(arrays["metadata.at"], arrays["metadata.octets"])
        self.directory = Directory(arrays["directory.hashes"], arrays["directory.rows"])
        self.namespace_of: NDArray[np.uint32] = arrays["namespace_of"]
        self.lengths: Floats = arrays["lengths"]
        self.coded = Coded(Coder.from_parts(head.coder, _under("coder", arrays)), arrays["codes"])
        self.fine = self.coded
        if head.fine is not None:
            self.fine = Coded(Coder.from_parts(head.fine, _under("fine_coder", arrays)), arrays["fine"])
        rescore = None if head.fine is None else self.fine
        self.graph: Graph | None = None
        self._exact = ExactSearch(self.coded, rescore)
        self._planner: Planner | None = None
        if head.graph is not None:
            graph = _under("graph", arrays)
            self.graph = Graph(**graph, entry=head.graph.entry, levels=head.graph.levels)
            self._planner = Planner(GraphSearch(self.graph, self.coded, rescore))
        self.columns = Columns.from_arrays(_under("columns", arrays))
        self._namespace_masks: dict[int, Bitmap] = {}
        self._deleted: tuple[Bitmap | None, int] = (None, 0)
        """The bitmap of deleted rows that was counted last, and their number; replaced as one."""
        self._lock = threading.Lock()  # protects `_namespace_masks`

    @classmethod
    def open(cls, folder: Path, digest: str) -> Self:
        """The segment whose head has this checksum. StorageDamaged if it cannot be read safely."""
        try:
            with told(f"{folder} cannot be opened"):
                text = (folder / HEAD).read_bytes()
        except FileNotFoundError as error:
            raise StorageDamaged(f"{folder / HEAD} is missing; restore it from a snapshot") from error
        if xxhash.xxh3_128_hexdigest(text) != digest:
            raise StorageDamaged(
                f"{folder / HEAD} was changed after it was written; restore it from a snapshot"
            )
        head = msgspec.json.decode(text, type=SegmentHead)
        arrays = map_arrays(folder, head.files, scattered=("fine",))
        check_arrays(folder, head.files, [name for name in head.files if name not in _NOT_TRUSTED])
        return cls(folder, head, arrays)

    def verify(self) -> None:
        """Read every file against its checksum. StorageDamaged on the first that was changed."""
        check_arrays(self.folder, self.head.files)

    def touch(self) -> None:
        """Read from every page that searches will, so that none of them waits for the operating system to map it.

        Of a large copy for re-scoring a search needs a few pages of many; these stay where they are.
        """
        arrays: list[NDArray[Any]] = [
            self.coded.rows,
            *([] if self.graph is None else [self.graph.base, self.graph.upper_at]),
        ]
        if self.fine.rows.nbytes <= _TOUCHED_BYTES:
            arrays.append(self.fine.rows)
        for array in arrays:
            array.reshape(-1).view(np.uint8)[::_PAGE_BYTES].max(initial=0)

    def __len__(self) -> int:
        return self.head.rows

    @property
    def is_provisional(self) -> bool:
        """Whether a graph is still to be built over its rows: there is none, or a quick one."""
        return self.head.graph is None or self.head.graph.quick

    def least_ef(self, recall: float) -> int:
        """How far a search has to look for this recall, as far as it was measured; 0 if it was not."""
        return 0 if self.head.graph is None else least_ef(self.head.graph.findings, recall)

    @property
    def types(self) -> Types:
        """Fields of the metadata and their kinds."""
        return self.columns.types

    @property
    def held_bytes(self) -> int:
        """Bytes that searches go through: codes and graph."""
        return self.coded.rows.nbytes + (0 if self.graph is None else self.graph.held_bytes)

    @property
    def disk_bytes(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.head.files.values())

    def search(  # noqa: PLR0913 - keywords
        self,
        queries: Floats,
        k: int,
        *,
        ef: int,
        candidates: int,
        allowed: Bitmap | None,
        deleted: Bitmap | None,
        threads: int,
        exact: bool = False,
    ) -> Results:
        """The best `k` rows, for checked queries, that are allowed and not deleted; there is a row at least."""
        if exact or self._planner is None:
            return self._exact.search(
                queries, k, candidates=candidates, allowed=allowed, deleted=deleted, threads=threads
            )
        if allowed is not None:
            return self._planner.planned(
                queries, k, ef, candidates=candidates, allowed=allowed, deleted=deleted, threads=threads
            )
        if deleted is None:
            return self._planner.graph_search.walk(queries, k, ef, candidates, threads)
        good = len(self) - self._size_of(deleted)
        return self._planner.graph_search.masked(
            queries,
            k,
            ef,
            candidates=candidates,
            allowed=None,
            deleted=deleted,
            good=good,
            threads=threads,
        )

    def steps(self, k: int, ef: int, candidates: int, deleted: Bitmap | None) -> tuple[Step, ...]:
        """The steps of `search` without a filter; a walk of them may come short, what is then done `search` knows."""
        step = None
        if self._planner is not None and deleted is None:
            step = self._planner.graph_search.step(k, ef, candidates)
        elif self._planner is not None and deleted is not None:
            good = len(self) - self._size_of(deleted)
            step = self._planner.graph_search.masked_step(
                k, ef, candidates=candidates, allowed=None, deleted=deleted, good=good
            )
        return (step or self._exact.live_step(k, candidates, deleted),)

    @property
    def linked(self) -> int:
        """Rows that are in its graph."""
        return 0 if self.graph is None else len(self.graph)

    def _size_of(self, deleted: Bitmap) -> int:
        """How many rows are deleted: counted anew only if it is another bitmap, as those of a view do not change."""
        counted, size = self._deleted
        if counted is not deleted:
            size = size_of(deleted)
            self._deleted = (deleted, size)
        return size

    def key_of(self, row: int) -> Key:
        """Who a row is."""
        return self.head.namespaces[int(self.namespace_of[row])], self.ids.texts([row])[0]

    def ids_of(self, rows: Sequence[int]) -> list[str]:
        """The ids of rows."""
        if len(rows) > 1:
            # Mostly they are in no cache: asked for in one step the memory fetches them side by side, in the loop of
            # `texts` it would one after another.
            self.ids.octets.take(self.ids.at.take(rows))
        return self.ids.texts(rows)

    def find(self, keys: Sequence[Key], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row of each of `keys`, deleted or not; -1 where there is none."""
        return self.directory.find(keys, hashes, self.key_of)

    def hashes(self) -> NDArray[np.uint64]:
        """The hash of each row's name."""
        hashes = np.empty(len(self), np.uint64)
        hashes[self.directory.rows] = self.directory.hashes
        return hashes

    def metadata_of(self, row: int) -> bytes:
        """Packed metadata of a row."""
        return self.packed_metadata[row]

    def vectors_of(self, rows: NDArray[Any]) -> Floats:
        """The vectors (n, d) of `rows`, as exact as they are held."""
        vectors = self.fine.coder.decode(self.fine.rows[rows])
        return vectors * self.lengths[rows][:, None] if len(self.lengths) else vectors

    def in_namespace(self, namespace: str) -> Bitmap | bool:
        """The rows in a namespace; True for all, False for none."""
        if namespace not in self.head.namespaces:
            return False
        if len(self.head.namespaces) == 1:
            return True
        place = self.head.namespaces.index(namespace)
        with self._lock:
            mask = self._namespace_masks.get(place)
            if mask is None:
                if len(self._namespace_masks) == _MASKS_KEPT:
                    self._namespace_masks.pop(next(iter(self._namespace_masks)))
                mask = self._namespace_masks[place] = bitmap_of(self.namespace_of == place)
        return mask

    def passing(self, wanted: Filter) -> Bitmap:
        """The rows whose metadata pass a filter."""
        return self.columns.mask(wanted)


def _prefixed(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def _under(prefix: str, arrays: Arrays) -> Arrays:
    begin = prefix + "."
    return {name.removeprefix(begin): array for name, array in arrays.items() if name.startswith(begin)}

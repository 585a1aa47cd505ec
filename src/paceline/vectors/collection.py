"""A collection of vectors in a folder: written through a log, searched in memory maps, kept in order beside both.

The way of a write: checked, logged, made visible, and acknowledged when the log is as safe as the policy says. The way
of a search: the newest view, each part by its own plan, the best of all. Many threads may do either; searches wait for
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import numpy as np

from paceline.base.errors import InvalidRequest, NotFound, PacelineError
from paceline.vectors.batch import (
    Deletes,
    Upserts,
    checked_keys,
    columns_of,
    hashes_of,
    merged_metadata,
    without_doubles,
)
from paceline.vectors.codes import Precision
from paceline.vectors.courtesy import courteously, give_way
from paceline.vectors.disk import made_folder
from paceline.vectors.files import Files
from paceline.vectors.filters import Filter
from paceline.vectors.incoming import Incoming, learned
from paceline.vectors.memory import Memories
from paceline.vectors.metadata import Types
from paceline.vectors.metric import Floats
from paceline.vectors.opening import Opened, open_folder
from paceline.vectors.policy import USUAL_EF, Schema, VectorsPolicy
from paceline.vectors.record import (
    Key,
    Match,
    Record,
    checked_namespace,
    packed_metadata,
    unpacked_metadata,
)
from paceline.vectors.reencode import checked_change
from paceline.vectors.search import MOST_EF, Reach, live_rows, search_view
from paceline.vectors.searched import checked_counts
from paceline.vectors.snapshot import take_snapshot
from paceline.vectors.stats import CollectionStats, stats_of
from paceline.vectors.view import View
from paceline.vectors.word_search import Words, search_words
from paceline.vectors.writer import Writer


class Collection:
    """An open collection; one object, in one process, at a time."""

    def __init__(self, opened: Opened, policy: VectorsPolicy) -> None:
        self.policy = policy
        self.recovery = opened.recovery
        self._opened = opened
        self._files, self._state, self._log = opened.files, opened.state, opened.log
        self._upkeep, self._texts = opened.upkeep, opened.texts
        self._incoming = Incoming(self.schema, opened.preprocess)
        self._writer = Writer(opened, policy.upkeep, self._check_open)
        self._memories = Memories()
        self._is_closed = False

    @classmethod
    def create(
        cls,
        folder: Path,
        schema: Schema,
        *,
        sample: Any = None,
        policy: VectorsPolicy = VectorsPolicy(),  # noqa: B008 - frozen
    ) -> Self:
        """Make a collection in `folder`, which must not exist. `sample` (n, d): vectors from which pca learns."""
        if folder.exists():
            raise InvalidRequest(f"{folder} exists; open it, drop it, or choose another name", param="name")
        preprocess = learned(schema, sample)
        with made_folder(folder) as part:
            Files.create(part, schema, preprocess)
        return cls.open(folder, policy=policy)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        policy: VectorsPolicy = VectorsPolicy(),  # noqa: B008 - frozen
        skip_damaged: bool = False,
    ) -> Self:
        """Open the collection in `folder`, with all that was acknowledged.

        NotFound, FolderInUse, StorageDamaged (`skip_damaged` leaves out writes of the log that cannot be read). Damaged
        segments are set aside: see `stats().damaged`.
        """
        return cls(open_folder(folder, policy, skip_damaged=skip_damaged), policy)

    def upsert(self, records: Iterable[Record]) -> int:
        """Add records, or replace those of the same id; all of them or none. Returns how many.

        InvalidRequest names the record at fault, StorageFull means that there was no room.
        """
        keys, vectors, metadata = columns_of(list(records))
        return self._upsert(keys, self._incoming.each(vectors), metadata)

    def upsert_arrays(
        self,
        ids: Sequence[str],
        vectors: Any,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        *,
        namespace: str = "",
    ) -> int:
        """As `upsert`, of columns: `vectors` is (n, d), `metadata` of each record or none at all."""
        keys = checked_keys(ids, namespace)
        give_way()
        rows = self._incoming.vectors(vectors)
        if len(rows) != len(keys) or (metadata is not None and len(metadata) != len(keys)):
            raise InvalidRequest(
                f"{len(keys)} ids, {len(rows)} vectors; send one of each, and metadata of each or none",
                param="ids",
            )
        give_way()
        given = metadata or [None] * len(keys)
        packed = [packed_metadata(one, f"metadata[{i}]") for i, one in enumerate(courteously(given))]
        give_way()
        return self._upsert(keys, rows, packed)

    def take_over(self, records: Iterable[Record]) -> int:
        """As `upsert`, of records that `fetch` of a collection of the same schema gave: reduced already."""
        keys, vectors, metadata = columns_of(list(records))
        rows = np.array(vectors, np.float32).reshape(len(keys), self.schema.stored)
        return self._upsert(keys, rows, metadata)

    def _upsert(self, keys: list[Key], vectors: Floats, metadata: list[bytes]) -> int:
        without_doubles(keys)
        most = self.policy.durability.most_batch
        if len(keys) > most:
            raise InvalidRequest(
                f"{len(keys)} records in one write; {most} is the most, send several", param="records"
            )
        if keys:
            self._writer.wait_for_room()
            self._writer.acknowledged(self._writer.write(Upserts.of(keys, vectors, metadata)))
        return len(keys)

    def update(
        self,
        id: str,  # noqa: A002 - its name in the API
        *,
        metadata: Mapping[str, Any] | None = None,
        vector: Any = None,
        namespace: str = "",
    ) -> None:
        """Change a record: `vector` replaces, fields of `metadata` replace and None removes one. NotFound."""
        keys = checked_keys([id], namespace)
        entered = None if vector is None else self._incoming.vectors(vector)
        self._writer.wait_for_room()
        with self._state.writing:  # nobody may write in between
            found = self._state.view.find(keys, hashes_of(keys))[0]
            if found is None:
                raise NotFound(f"no record {id!r} in namespace {namespace!r}; upsert it", param="id")
            part, row = found
            old = part.source.metadata_of(row)
            packed = old
            if metadata is not None:
                packed = packed_metadata(merged_metadata(unpacked_metadata(old), metadata))
            kept = part.source.vectors_of(np.array([row])) if entered is None else entered
            number = self._writer.write(Upserts.of(keys, kept, [packed]))
        self._writer.acknowledged(number)

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002
        namespace: str = "",
        everything: bool = False,
    ) -> int:
        """Delete by id, by filter, or a whole namespace; returns how many records there were."""
        if (ids is not None) + (filter is not None) + everything != 1:
            raise InvalidRequest("say what to delete: one of ids, filter, everything", param="ids")
        self._writer.wait_for_room()
        if ids is not None:
            keys = list(dict.fromkeys(checked_keys(ids, namespace)))
            with self._state.writing:
                found = self._state.view.find(keys, hashes_of(keys))
                present = [key for key, place in zip(keys, found, strict=True) if place is not None]
                number = self._writer.write(Deletes.of(present)) if present else None
        else:
            checked_namespace(namespace)
            with self._state.writing:
                view = self._state.view
                wanted = None if filter is None or view.live == 0 else self._filter(filter, view)
                present = [
                    part.source.key_of(int(row))
                    for part in view.parts
                    for row in live_rows(part, namespace, wanted)
                ]
                number = self._writer.write(Deletes.of(present)) if present else None
        if number is not None:
            self._writer.acknowledged(number)
        return len(present)

    def fetch(
        self, ids: Sequence[str], *, namespace: str = "", include_vectors: bool = True
    ) -> dict[str, Record]:
        """The records of these ids that there are, by id; vectors as exact as they are held."""
        keys = checked_keys(ids, namespace)
        found = self._view().find(keys, hashes_of(keys))
        records = {}
        for (space, name), place in zip(keys, found, strict=True):
            if place is not None:
                part, row = place
                vector = part.source.vectors_of(np.array([row]))[0] if include_vectors else None
                records[name] = Record(name, vector, unpacked_metadata(part.source.metadata_of(row)), space)
        return records

    def query(  # noqa: PLR0913 - keywords, each with a default
        self,
        vectors: Any,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002
        namespace: str = "",
        ef: int | None = None,
        candidates: int | None = None,
        include_metadata: bool = False,
        include_vectors: bool = False,
        exact: bool = False,
    ) -> list[list[Match]]:
        """The best `k` records for each of `vectors` (q, d), or for one (d,), best first.

        `filter`: only records whose metadata pass; a `Filter` is taken as checked. `ef`,
        `candidates`: how far to look, instead of `default_ef` and the policy's. `exact` looks at all: the truth, for what it costs.
        """
        view, search = self._view(), self.policy.search
        reach = Reach(
            k,
            self.default_ef if ef is None else ef,
            search.candidates if candidates is None else candidates,
            search.threads,
            checked_namespace(namespace),
            None if filter is None or view.live == 0 else self._filter(filter, view),
            exact,
        )
        checked_counts(k, reach.candidates)
        if not 1 <= reach.ef <= MOST_EF:
            raise InvalidRequest(f"ef is {ef}; look at 1 to {MOST_EF} vectors", param="ef")
        found = search_view(view, self._incoming.queries(vectors), reach, self._memories)
        return [found.matches(i, include_metadata, include_vectors) for i in range(len(found.rows))]

    def by_words(  # noqa: PLR0913 - keywords, each with a default
        self,
        text: str,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002
        namespace: str = "",
        include_metadata: bool = False,
        include_vectors: bool = False,
    ) -> list[Match]:
        """The best `k` records whose text shares words with `text`, by BM25, best first; see `hybrid.fused_matches`.

        Waits until all writes that are visible now are indexed. InvalidRequest if the schema names no `text_field`,
        ConfigError if tantivy is not installed, StorageError if the texts cannot be read or written.
        """
        view = self._view()
        parsed = None if filter is None or view.live == 0 else self._filter(filter, view)
        wanted = Words(text, k, checked_namespace(namespace), parsed, include_metadata, include_vectors)
        return search_words(self._texts, view, wanted)

    def _filter(self, wanted: Mapping[str, Any] | Filter, view: View) -> Filter:
        return wanted if isinstance(wanted, Filter) else view.filters.of(wanted)

    def all_keys(self) -> Iterator[Key]:
        """Namespace and id of every record, as of now, in no order."""
        for part in self._view().parts:
            for row in part.live_rows():
                yield part.source.key_of(int(row))

    @property
    def schema(self) -> Schema:
        """What the collection holds; `reencode` changes its precision."""
        return self._state.schema

    @property
    def types(self) -> Types:
        """Fields of the metadata, and the kinds of their values."""
        return self._view().types

    @property
    def default_ef(self) -> int:
        """How far a search looks unless it says otherwise: the policy's ef, or, if it is 0, what its recall needs."""
        search = self.policy.search
        return search.ef or max(USUAL_EF, self._state.view.least_ef(search.recall))

    @property
    def version(self) -> int:
        """Number of the last write that searches see; the same number, the same answers."""
        return self._state.view.version

    @property
    def records(self) -> int:
        """How many there are."""
        return self._view().live

    @property
    def troubles(self) -> dict[str, str]:
        """What is wrong: segments set aside, what the upkeep could not do at its last try."""
        found = {f"segment {number}": why for number, why in self._files.damaged.items()}
        found |= {name: error.message for name, error in dict(self._upkeep.troubles).items()}
        return found

    def stats(self) -> CollectionStats:
        """Counts, sizes, and what is wrong."""
        return stats_of(self._view(), self._files, self._log, self._upkeep.troubles, self._texts)

    def snapshot(self, folder: Path) -> None:
        """Put the collection as it is now into `folder`, which must not exist; a collection of its own.

        Takes links where it can, so it is quick and needs no room; reads and writes go on.
        """
        self._check_open()
        take_snapshot(self._files, self._state, self._log, folder)

    def verify(self) -> dict[str, str]:
        """Read all segments against their checksums; those that were changed are set aside. Returns them, with reasons."""
        for segment, _ in list(self._view().segments()):
            self._upkeep.verified(segment)
        return self.stats().damaged

    def loading(self) -> AbstractContextManager[None]:
        """While the block runs no graphs are built: for a large load, so that all of it comes under one at its end."""
        return self._upkeep.held()

    def settle(self) -> None:
        """Wait until nothing is left to seal or join. The error of what fails."""
        self._upkeep.settle()

    def compact(self) -> None:
        """Make one segment of all there is, under a graph if it is enough for one, and wait for it."""
        with self._state.writing:
            self._check_open()
            if self._state.tail.count:
                self._writer.freeze()
        self._upkeep.compact()

    def reencode(self, precision: Precision) -> None:
        """From now on hold the codes that are searched in another precision; reads and writes go on.

        What is there is rewritten beside them, from the finest copy and no finer than that (fp32 codes of an fp16 copy
        hold the numbers of fp16); a crash does not end it. `settle` waits, `stats().precisions` tells how far it is.
        InvalidRequest if vectors would lose digits.
        """
        with self._files.publishing:
            self._check_open()
            schema = checked_change(self.schema, precision)
            self._files.change_schema(schema)
            self._state.schema = schema
            self._incoming = Incoming(schema, self._opened.preprocess)
        self._upkeep.wake()

    def sample(self, count: int, *, seed: int = 1) -> Floats:
        """At most `count` vectors (n, kept), drawn from all, as they are stored and as exact as they are held."""
        return self._view().sample(count, seed)

    def close(self) -> None:
        """Sync the log and let others open the folder. May be called twice."""
        if self._is_closed:
            return
        with self._state.writing:
            self._is_closed = True
        self._upkeep.close()
        if self._texts is not None:
            self._texts.close()
        try:
            self._log.close()
        finally:
            self._opened.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _view(self) -> View:
        self._check_open()
        return self._state.view

    def _check_open(self) -> None:
        if self._is_closed:
            raise PacelineError(f"collection {self._files.folder} is closed; open it again")

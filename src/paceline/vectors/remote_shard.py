"""A shard in another process of this host: `RemoteShard` calls, a `ShardHost` answers, over a unix socket.

A process for each shard searches on cores of its own without sharing an interpreter, and takes down no other shard when
it dies.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec
import numpy as np

from paceline.base.errors import Unreachable
from paceline.flow.channel import Channel
from paceline.vectors.codes import Precision
from paceline.vectors.filters import Filter
from paceline.vectors.metadata import Types
from paceline.vectors.record import Key, Match, Record
from paceline.vectors.shard_wire import (
    check_size,
    numbers_of,
    octets_of,
    received_matches,
    sent_filter,
    sent_records,
)
from paceline.vectors.stats import CollectionStats

T = TypeVar("T")


_STARTING: Final = threading.Lock()
"""Held while the loop is started: `cache` alone would let two first calls start one each, and a reply that comes to the
other loop wakes nobody."""


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all remote shards of this process, on a thread of its own."""
    with _STARTING:
        return _started()


@cache
def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="shards", daemon=True).start()
    return loop


def waited(call: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that runs on that loop; blocks this thread."""
    return asyncio.run_coroutine_threadsafe(call, _loop()).result()


class Owner(Protocol):
    """Who keeps the other process: a `ShardKeeper`."""

    @property
    def down(self) -> str:
        """Why the process does not answer now; empty while it does."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class RemoteShard:
    """The calling end: a `Shard`. Connects when first used, and again after the other process was restarted.

    Every call raises what the collection raises there, EngineError when the process is not there, and Unreachable with
    the reason when its `owner` knows one. `close` ends the process of an owner.
    """

    def __init__(self, socket: Path, owner: Owner | None = None) -> None:
        self._channel = Channel(socket)
        self.owner = owner

    def _call(self, operation: str, *payload: Any) -> Any:
        why = "" if self.owner is None else self.owner.down
        if why:
            raise Unreachable(why)
        return waited(self._channel.call(operation, payload))

    def upsert(self, records: Iterable[Record]) -> int:
        """See `Collection.upsert`."""
        return int(self._call("upsert", sent_records(records)))

    def upsert_arrays(
        self,
        ids: Sequence[str],
        vectors: Any,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        *,
        namespace: str = "",
    ) -> int:
        """See `Collection.upsert_arrays`."""
        rows = np.asarray(vectors, np.float32)
        check_size(rows.nbytes)
        sent = None if metadata is None else list(metadata)
        return int(self._call("upsert_arrays", list(ids), rows.tobytes(), rows.shape, sent, namespace))

    def take_over(self, records: Iterable[Record]) -> int:
        """See `Collection.take_over`."""
        return int(self._call("take_over", sent_records(records)))

    def update(
        self,
        id: str,  # noqa: A002 - its name in the API
        *,
        metadata: Mapping[str, Any] | None = None,
        vector: Any = None,
        namespace: str = "",
    ) -> None:
        """See `Collection.update`."""
        self._call("update", id, metadata, octets_of(vector), namespace)

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002
        namespace: str = "",
        everything: bool = False,
    ) -> int:
        """See `Collection.delete`."""
        sent = None if ids is None else list(ids)
        return int(self._call("delete", sent, *sent_filter(filter), namespace, everything))

    def fetch(
        self, ids: Sequence[str], *, namespace: str = "", include_vectors: bool = True
    ) -> dict[str, Record]:
        """See `Collection.fetch`."""
        found = self._call("fetch", list(ids), namespace, include_vectors)
        return {
            name: Record(name, numbers_of(vector), metadata, namespace) for name, vector, metadata in found
        }

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
        """See `Collection.query`."""
        asked = np.asarray(vectors, np.float32)
        if include_vectors:
            check_size(asked.nbytes * k)
        options = {
            "namespace": namespace,
            "ef": ef,
            "candidates": candidates,
            "include_metadata": include_metadata,
            "include_vectors": include_vectors,
            "exact": exact,
        }
        found = self._call("query", asked.tobytes(), asked.shape, k, *sent_filter(filter), options)
        return [received_matches(one) for one in found]

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
        """See `Collection.by_words`."""
        options = {
            "namespace": namespace,
            "include_metadata": include_metadata,
            "include_vectors": include_vectors,
        }
        return received_matches(self._call("by_words", text, k, *sent_filter(filter), options))

    def all_keys(self) -> Iterator[Key]:
        """See `Collection.all_keys`; some thousands a call."""
        reader, keys = self._call("first_keys")
        while keys:
            yield from ((namespace, name) for namespace, name in keys)
            keys = self._call("more_keys", reader)

    @property
    def default_ef(self) -> int:
        """See `Collection.default_ef`."""
        return int(self._call("default_ef"))

    @property
    def types(self) -> Types:
        """See `Collection.types`."""
        return {field: set(kinds) for field, kinds in self._call("types").items()}

    @property
    def version(self) -> int:
        """See `Collection.version`."""
        return int(self._call("version"))

    @property
    def records(self) -> int:
        """See `Collection.records`."""
        return int(self._call("records"))

    @property
    def troubles(self) -> dict[str, str]:
        """See `Collection.troubles`."""
        return dict(self._call("troubles"))

    def stats(self) -> CollectionStats:
        """See `Collection.stats`."""
        return msgspec.convert(self._call("stats"), CollectionStats)

    def snapshot(self, folder: Path) -> None:
        """See `Collection.snapshot`; the folder is one of this host."""
        self._call("snapshot", str(folder.absolute()))

    def verify(self) -> dict[str, str]:
        """See `Collection.verify`."""
        return dict(self._call("verify"))

    def reencode(self, precision: Precision) -> None:
        """See `Collection.reencode`."""
        self._call("reencode", precision)

    def settle(self) -> None:
        """See `Collection.settle`."""
        self._call("settle")

    def compact(self) -> None:
        """See `Collection.compact`."""
        self._call("compact")

    def close(self) -> None:
        """Close the connection, and the process if its owner was given."""
        waited(self._channel.close())
        if self.owner is not None:
            self.owner.close()

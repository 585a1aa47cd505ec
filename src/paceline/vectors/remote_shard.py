"""A shard in another process of this host: `RemoteShard` calls, `ShardHost` answers, over a unix socket.

A process for each shard searches on cores of its own without sharing an interpreter, and takes down no other shard when
it dies. Numbers travel as their bytes, filters as the JSON they came from.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import orjson

from paceline.base.errors import EngineError
from paceline.flow.channel import Channel
from paceline.vectors.collection import Collection
from paceline.vectors.filters import Filter
from paceline.vectors.metadata import Types
from paceline.vectors.record import Key, Match, Record

T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all remote shards of this process, on a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="shards", daemon=True).start()
    return loop


def waited(call: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that runs on that loop; blocks this thread."""
    return asyncio.run_coroutine_threadsafe(call, _loop()).result()


class RemoteShard:
    """The calling end: a `Shard`. Connects when first used, and again after the other process was restarted.

    Every call raises what the collection raises there, and EngineError when the process is not there.
    """

    def __init__(self, socket: Path) -> None:
        self._channel = Channel(socket)

    def _call(self, operation: str, *payload: Any) -> Any:
        return waited(self._channel.call(operation, payload))

    def upsert(self, records: Iterable[Record]) -> int:
        """See `Collection.upsert`."""
        sent = [[record.id, _octets(record.vector), record.metadata, record.namespace] for record in records]
        return int(self._call("upsert", sent))

    def update(
        self,
        id: str,  # noqa: A002 - its name in the API
        *,
        metadata: Mapping[str, Any] | None = None,
        vector: Any = None,
        namespace: str = "",
    ) -> None:
        """See `Collection.update`."""
        self._call("update", id, metadata, _octets(vector), namespace)

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
        return int(self._call("delete", sent, *_sent_filter(filter), namespace, everything))

    def fetch(
        self, ids: Sequence[str], *, namespace: str = "", include_vectors: bool = True
    ) -> dict[str, Record]:
        """See `Collection.fetch`."""
        found = self._call("fetch", list(ids), namespace, include_vectors)
        return {name: Record(name, _numbers(vector), metadata, namespace) for name, vector, metadata in found}

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
    ) -> list[list[Match]]:
        """See `Collection.query`."""
        asked = np.asarray(vectors, np.float32)
        options = {
            "namespace": namespace,
            "ef": ef,
            "candidates": candidates,
            "include_metadata": include_metadata,
            "include_vectors": include_vectors,
        }
        found = self._call("query", asked.tobytes(), asked.shape, k, *_sent_filter(filter), options)
        return [
            [Match(name, score, metadata, _numbers(vector)) for name, score, metadata, vector in one]
            for one in found
        ]

    def all_keys(self) -> Iterable[Key]:
        """See `Collection.all_keys`."""
        return [(namespace, name) for namespace, name in self._call("all_keys")]

    @property
    def types(self) -> Types:
        """See `Collection.types`."""
        return {field: set(kinds) for field, kinds in self._call("types").items()}

    @property
    def version(self) -> int:
        """See `Collection.version`."""
        return int(self._call("version"))

    def close(self) -> None:
        """Close the connection; the process is its owner's to end."""
        waited(self._channel.close())


class ShardHost:
    """The answering end: serves one collection to any number of callers, each call on a thread."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def answer(self, operation: str, payload: Any) -> Any:
        """One call of a `RemoteShard`; raises what the collection raises."""
        return await asyncio.to_thread(self._answer, operation, payload)

    def _answer(self, operation: str, payload: Any) -> Any:
        held = self._collection
        match operation, payload:
            case "query", [octets, shape, k, text, checked, options]:
                vectors = np.frombuffer(octets, np.float32).reshape(shape)
                found = held.query(vectors, k, filter=_received_filter(text, checked), **options)
                return [[[m.id, m.score, m.metadata, _octets(m.vector)] for m in one] for one in found]
            case "upsert", [records]:
                return held.upsert(
                    Record(name, _numbers(vector), metadata, namespace)
                    for name, vector, metadata, namespace in records
                )
            case "update", [name, metadata, vector, namespace]:
                return held.update(name, metadata=metadata, vector=_numbers(vector), namespace=namespace)
            case "delete", [ids, text, checked, namespace, everything]:
                wanted = _received_filter(text, checked)
                return held.delete(ids, filter=wanted, namespace=namespace, everything=everything)
            case "fetch", [ids, namespace, include_vectors]:
                records = held.fetch(ids, namespace=namespace, include_vectors=include_vectors)
                return [[name, _octets(one.vector), one.metadata] for name, one in records.items()]
            case "all_keys", []:
                return list(held.all_keys())
            case "types", []:
                return {field: sorted(kinds) for field, kinds in held.types.items()}
            case "version", []:
                return held.version
            case _:
                raise EngineError(
                    f"the shard does not know the call {operation!r}; are all processes of one version?"
                )


def _octets(vector: Any) -> bytes | None:
    return None if vector is None else np.asarray(vector, np.float32).tobytes()


def _numbers(octets: bytes | None) -> Any:
    return None if octets is None else np.frombuffer(octets, np.float32)


def _sent_filter(wanted: Mapping[str, Any] | Filter | None) -> tuple[bytes | None, bool]:
    """The JSON of a filter, and whether it was checked against the fields there are."""
    if wanted is None:
        return None, False
    if isinstance(wanted, Filter):
        return wanted.key, True
    return msgspec.json.encode(wanted), False


def _received_filter(text: bytes | None, checked: bool) -> Mapping[str, Any] | Filter | None:
    if text is None:
        return None
    wanted = orjson.loads(text)
    return Filter.parse(wanted) if checked else wanted

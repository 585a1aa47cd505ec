"""The answering end of a shard in a process of its own: `ShardHost`; see `remote_shard.py`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from paceline.base.errors import EngineError
from paceline.vectors.collection import Collection
from paceline.vectors.record import Key
from paceline.vectors.shard_wire import numbers_of, octets_of, received_filter, received_records, sent_matches

_MOST_AT_ONCE: Final = 12
"""Calls that a process runs: as many as a `Lane` starts, and some of other callers."""
_KEYS_AT_ONCE: Final = 10_000
_MOST_READERS: Final = 16


class ShardHost:
    """The answering end: serves one collection to any number of callers, each call on a thread."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._threads = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="shard")
        self._readers: dict[int, Iterator[Key]] = {}
        """Who reads all keys, and how far; the oldest is forgotten when there are too many."""
        self._next_reader = itertools.count()

    async def answer(self, operation: str, payload: Any) -> Any:
        """One call of a `RemoteShard`; raises what the collection raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._answer, operation, payload)

    def close(self) -> None:
        """End the threads; does not wait for calls that hang."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _answer(self, operation: str, payload: Any) -> Any:
        held = self._collection
        match operation, payload:
            case "query", [octets, shape, k, text, checked, options]:
                vectors = np.frombuffer(octets, np.float32).reshape(shape)
                found = held.query(vectors, k, filter=received_filter(text, checked), **options)
                return [sent_matches(one) for one in found]
            case "by_words", [text, k, wanted, checked, options]:
                found_by_words = held.by_words(text, k, filter=received_filter(wanted, checked), **options)
                return sent_matches(found_by_words)
            case "upsert", [records]:
                return held.upsert(received_records(records))
            case "upsert_arrays", [ids, octets, shape, metadata, namespace]:
                rows = np.frombuffer(octets, np.float32).reshape(shape)
                return held.upsert_arrays(ids, rows, metadata, namespace=namespace)
            case "take_over", [records]:
                return held.take_over(received_records(records))
            case "update", [name, metadata, vector, namespace]:
                return held.update(name, metadata=metadata, vector=numbers_of(vector), namespace=namespace)
            case "delete", [ids, text, checked, namespace, everything]:
                wanted = received_filter(text, checked)
                return held.delete(ids, filter=wanted, namespace=namespace, everything=everything)
            case "fetch", [ids, namespace, include_vectors]:
                kept = held.fetch(ids, namespace=namespace, include_vectors=include_vectors)
                return [[name, octets_of(one.vector), one.metadata] for name, one in kept.items()]
            case _:
                return self._answer_of_all(operation, payload)

    def _answer_of_all(self, operation: str, payload: Any) -> Any:
        """What concerns the collection as a whole."""
        held = self._collection
        match operation, payload:
            case "first_keys", []:
                return self._first_keys()
            case "more_keys", [reader]:
                return self._keys(reader)
            case "types", []:
                return {field: sorted(kinds) for field, kinds in held.types.items()}
            case (("default_ef" | "version" | "records" | "troubles"), []):
                return getattr(held, operation)
            case "stats", []:
                return msgspec.to_builtins(held.stats())
            case "reencode", [precision]:
                return held.reencode(precision)
            case "snapshot", [folder]:
                return held.snapshot(Path(folder))
            case (("verify" | "settle" | "compact"), []):
                return getattr(held, operation)()
            case _:
                raise EngineError(
                    f"the shard does not know the call {operation!r}; are all processes of one version?"
                )

    def _first_keys(self) -> tuple[int, list[Key]]:
        reader = next(self._next_reader)
        while len(self._readers) >= _MOST_READERS:
            self._readers.pop(next(iter(self._readers)), None)
        self._readers[reader] = self._collection.all_keys()
        return reader, self._keys(reader)

    def _keys(self, reader: int) -> list[Key]:
        keys = self._readers.get(reader)
        if keys is None:
            raise EngineError("too many read all keys at once and this reader was forgotten; read again")
        page = list(itertools.islice(keys, _KEYS_AT_ONCE))
        if not page:
            self._readers.pop(reader, None)
        return page

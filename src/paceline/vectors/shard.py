"""What a sharded collection wants of a shard, and the threads that wait for it: `Shard`, `Lane`.

A `Collection` is a shard in this process, a `RemoteShard` one in another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from paceline.base.errors import Unreachable
from paceline.vectors.filters import Filter
from paceline.vectors.metadata import Types
from paceline.vectors.record import Key, Match, Record

T = TypeVar("T")

MOST_AT_ONCE: Final = 8
"""Calls of one shard that run or wait; a shard that hangs costs this many threads and no more."""


class Shard(Protocol):
    """The part of `Collection` that a shard is."""

    def upsert(self, records: Iterable[Record]) -> int:
        """See `Collection.upsert`."""
        ...

    def update(
        self,
        id: str,  # noqa: A002 - its name in the API
        *,
        metadata: Mapping[str, Any] | None = None,
        vector: Any = None,
        namespace: str = "",
    ) -> None:
        """See `Collection.update`."""
        ...

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002
        namespace: str = "",
        everything: bool = False,
    ) -> int:
        """See `Collection.delete`."""
        ...

    def fetch(
        self, ids: Sequence[str], *, namespace: str = "", include_vectors: bool = True
    ) -> dict[str, Record]:
        """See `Collection.fetch`."""
        ...

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
        ...

    def all_keys(self) -> Iterable[Key]:
        """See `Collection.all_keys`."""
        ...

    @property
    def types(self) -> Types:
        """See `Collection.types`."""
        ...

    @property
    def version(self) -> int:
        """See `Collection.version`."""
        ...

    def close(self) -> None:
        """See `Collection.close`."""
        ...


class Lane:
    """Calls of one shard, each on a thread of its own; refuses when too many are under way."""

    def __init__(self, name: str, shard: Shard) -> None:
        self.name = name
        self.shard = shard
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix=f"shard-{name}")
        self._free = threading.Semaphore(MOST_AT_ONCE)

    def start(self, call: Callable[[Shard], T]) -> Future[T]:
        """Run `call` with the shard. What it raises, and Unreachable if the shard is too far behind, is in the future."""
        if not self._free.acquire(blocking=False):
            refused: Future[T] = Future()
            refused.set_exception(
                Unreachable(f"shard {self.name!r} has {MOST_AT_ONCE} calls under way and takes no more")
            )
            return refused
        started = self._threads.submit(call, self.shard)
        started.add_done_callback(lambda _: self._free.release())
        return started

    def close(self) -> None:
        """Close the shard. Does not wait for calls that hang."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.shard.close()

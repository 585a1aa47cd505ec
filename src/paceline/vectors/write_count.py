"""The version of a sharded collection, counted here, so that it is known without asking a shard: `WriteCount`."""

from __future__ import annotations

import threading
from typing import TypeVar

from paceline.base.errors import InvalidRequest, NotFound
from paceline.vectors.fan_out import Call
from paceline.vectors.shard import Shard

T = TypeVar("T")


class WriteCount:
    """Rises with every write of a shard that this collection makes, and nobody else makes any."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._lock = threading.Lock()  # protects `count`

    def counted(self, call: Call[T]) -> Call[T]:
        """A write as one that counts once it is visible, and if it fails it may be; not where it says 0 records."""

        def run(shard: Shard) -> T:
            try:
                result = call(shard)
            except (InvalidRequest, NotFound):
                raise
            except BaseException:  # whatever it was: it may have been written before
                self._raise()
                raise
            if result != 0:
                self._raise()
            return result

        return run

    def _raise(self) -> None:
        with self._lock:
            self.count += 1

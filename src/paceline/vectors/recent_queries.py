"""The queries asked last, for the tuner to try again: what users ask is not what is stored."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from paceline.base.errors import InvalidRequest
from paceline.vectors.metric import Floats


class RecentQueries:
    """A ring of query vectors and where they were asked; safe for any number of threads.

    Of a stream longer than the ring one in `every` is kept, so that the ring reaches back over hours, not seconds.
    """

    def __init__(self, dimensions: int, room: int = 4096, every: int = 1) -> None:
        if room < 1 or every < 1:
            raise InvalidRequest(f"room is {room} and every {every}; keep one query of one at least")
        self._ring = np.zeros((room, dimensions), np.float32)
        self._spaces = [""] * room
        self._every = every
        self._asked = 0
        self._kept = 0
        self._lock = threading.Lock()  # protects all above

    def add(self, queries: Any, namespace: str = "") -> None:
        """Keep some of the checked queries (q, d), or one (d,), asked in a namespace."""
        rows = np.atleast_2d(np.asarray(queries, np.float32))
        with self._lock:
            first = -self._asked % self._every
            self._asked += len(rows)
            for row in rows[first :: self._every]:
                at = self._kept % len(self._ring)
                self._ring[at], self._spaces[at] = row, namespace
                self._kept += 1

    def __len__(self) -> int:
        return min(self._kept, len(self._ring))

    def sample(self, most: int, seed: int = 1, namespace: str | None = None) -> Floats:
        """At most `most` of those kept (n, d), drawn at random, none twice; of one namespace, or of all."""
        with self._lock:
            held = self._ring[: len(self)].copy()
            spaces = self._spaces[: len(self)]
        if namespace is not None:
            held = held[[space == namespace for space in spaces]]
        chosen: Floats = held[np.random.default_rng(seed).permutation(len(held))[:most]]
        return chosen

"""Who may touch a slot while slots move between shards: writes hold theirs, a move waits for them and holds them off.

Searches hold nothing and wait for nothing; a move waits, before it deletes what it has copied, for the searches that
began while the copy was not yet the one that counts.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager


class SlotLocks:
    """Safe for any number of threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # protects all below
        self._writes: Counter[int] = Counter()
        self._moving: set[int] = set()
        self._searches: Counter[int] = Counter()
        """Searches under way, by the era in which they began."""
        self._era = 0

    @contextmanager
    def writing(self, slots: Collection[int]) -> Iterator[None]:
        """Hold slots for a write; waits while one of them moves."""
        with self._changed:
            self._changed.wait_for(lambda: self._moving.isdisjoint(slots))
            self._writes.update(slots)
        try:
            yield
        finally:
            with self._changed:
                self._writes.subtract(slots)
                self._writes += Counter()  # drops those at zero
                self._changed.notify_all()

    def moving(self, slot: int) -> AbstractContextManager[None]:
        """Hold a slot for a move: writes that have it end first, others wait."""
        return self.holding({slot})

    @contextmanager
    def holding(self, slots: Collection[int]) -> Iterator[None]:
        """Hold slots against all writes and moves: those that have one of them end first, others wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._moving.isdisjoint(slots))
            self._moving.update(slots)
            self._changed.wait_for(lambda: self._writes.keys().isdisjoint(slots))
        try:
            yield
        finally:
            with self._changed:
                self._moving.difference_update(slots)
                self._changed.notify_all()

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Be known as a search."""
        with self._changed:
            era = self._era
            self._searches[era] += 1
        try:
            yield
        finally:
            with self._changed:
                self._searches[era] -= 1
                self._changed.notify_all()

    def wait_for_searches(self) -> None:
        """Wait until all searches that have begun before this call are over."""
        with self._changed:
            self._era += 1
            era = self._era
            self._changed.wait_for(lambda: not any(n for begun, n in self._searches.items() if begun < era))
            for begun in [begun for begun in self._searches if begun < era]:
                del self._searches[begun]

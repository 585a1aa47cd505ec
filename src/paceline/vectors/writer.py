"""The way of a write that has been checked: logged, made visible, told to who keeps order, acknowledged: `Writer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from paceline.vectors.batch import Batch
from paceline.vectors.courtesy import give_way
from paceline.vectors.opening import Opened
from paceline.vectors.policy import UpkeepPolicy

_WAITING: Final = 64
"""Fresh rows scanned beside their graph before it is told to grow."""


class Writer:
    """Writes to one open collection; one write at a time between `write`'s log and its view.

    `check_open` raises if the collection is closed.
    """

    def __init__(self, opened: Opened, policy: UpkeepPolicy, check_open: Callable[[], None]) -> None:
        self._state, self._log = opened.state, opened.log
        self._upkeep, self._texts = opened.upkeep, opened.texts
        self._policy = policy
        self._check_open = check_open

    def wait_for_room(self) -> None:
        """Before a write, and without `State.writing`: what makes room needs it."""
        self._upkeep.wait_for_room()
        if self._texts is not None:
            self._texts.wait_for_room()

    def write(self, batch: Batch) -> int:
        """Log a batch and make it visible; returns its number, for `acknowledged`. Who calls has waited for room."""
        payload = batch.logged()
        give_way()
        with self._state.writing:
            self._check_open()
            if self._log.failure is not None:
                self.freeze()  # what the log may have lost is in memory, and becomes a segment
            number = self._log.append(payload)
            give_way()
            before = self._state.view.sealed
            self._state.apply(batch, number)
            if self._texts is not None:
                self._texts.follow(batch, number)
            is_full = (
                self._state.tail.count >= self._policy.seal_rows
                or self._log.size >= self._policy.log_mb << 20
            )
            if is_full:
                self.freeze()
            elif any(now is not then for now, then in zip(self._state.view.sealed, before, strict=False)):
                self._upkeep.wake()
            elif self._state.tail.waiting >= _WAITING:
                self._upkeep.wake_growth()
        return number

    def freeze(self) -> None:
        """Begin a new tail; the old one is to become a segment. With `State.writing` held."""
        self._state.freeze(self._log.rotate())
        self._upkeep.wake()

    def acknowledged(self, number: int) -> None:
        """Return when the log is as safe as the policy says."""
        self._log.commit(number)

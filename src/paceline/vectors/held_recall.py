"""The setting that holds a promised recall of a served collection: kept on disk, checked, tuned anew: `HeldRecall`."""

from __future__ import annotations

import threading
from pathlib import Path

from paceline.base.errors import PacelineError
from paceline.vectors.kept_recall import KeptRecall
from paceline.vectors.pauses import CHECK_RESTS, Pauses
from paceline.vectors.recall_watch import Check, RecallWatch, Watched
from paceline.vectors.recent_queries import RecentQueries


class HeldRecall:
    """Of one collection; any thread may use it, one at a time checks."""

    def __init__(
        self,
        collection: Watched,
        recent: RecentQueries,
        folder: Path,
        *,
        recheck_s: float,
        ending: threading.Event,
    ) -> None:
        """What is kept in `folder` is in force. StorageDamaged. A check ends when `ending` is set."""
        self._collection = collection
        self._recent = recent
        self._folder = folder
        self._recheck_s = recheck_s
        self._ending = ending
        self._lock = threading.Lock()  # protects what is kept and its watch, which belong together
        self.kept = KeptRecall.read(folder)
        self._watch = None if self.kept is None else self._watching(self.kept)
        self._last: Check | None = None
        self._trouble = ""
        self.checks_total = 0

    def keep(self, kept: KeptRecall) -> None:
        """Use a setting from now on, and after the next opening; and check its promise. StorageError, StorageFull."""
        with self._lock:
            kept.write(self._folder)
            self.kept, self._watch = kept, self._watching(kept)
            self._last, self._trouble = None, ""

    def check_if_due(self) -> None:
        """Check the promise if there is one and it is time; tune anew if it does not hold. Takes seconds."""
        watch = self._watch
        if watch is None or not watch.is_due():
            return
        self.checks_total += 1
        try:
            last = watch.check(Pauses(self._ending, CHECK_RESTS).rest)
        except PacelineError as error:
            self._trouble = error.message
            return
        if watch is self._watch:  # else it was tuned meanwhile, for another promise
            self._last, self._trouble = last, ""

    def look_again(self) -> None:
        """Something else than a write may have changed the recall: check it when it is time, written or not."""
        if self._watch is not None:
            self._watch.forget()

    @property
    def recheck_s(self) -> float:
        """Least time between two checks."""
        return self._recheck_s

    @recheck_s.setter
    def recheck_s(self, value: float) -> None:
        self._recheck_s = value
        if self._watch is not None:
            self._watch.every_s = value

    def _watching(self, kept: KeptRecall) -> RecallWatch:
        def apply(ef: int, candidates: int) -> None:
            with self._lock:
                if self._watch is watch:  # else it was tuned meanwhile, for another promise
                    self.kept = KeptRecall(kept.promise, ef, candidates)
                    self.kept.write(self._folder)

        watch = RecallWatch(
            self._collection,
            self._recent,
            kept.promise,
            apply,
            ef=kept.ef,
            candidates=kept.candidates,
            every_s=self._recheck_s,
        )
        return watch

    def text(self) -> str:
        """The recall that is held by checks, and what the last one found, in words; empty if none is promised."""
        if self.kept is None:
            return ""
        promise, last = self.kept.promise, self._last
        said = f"recall@{promise.k} >= {promise.target:g} with {promise.confidence:.1%} confidence"
        if promise.namespace:
            said += f" in namespace {promise.namespace!r}"
        if self._trouble:
            return f"{said}: the last check failed ({self._trouble})"
        if last is None:
            return f"{said}: not checked yet"
        if last.state == "too few queries":
            return f"{said}: too few queries to check it"
        return f"{said}: {last.state}, {last.recall:.4f} measured, {last.bound:.4f} at least"

    def is_broken(self) -> bool:
        """Whether the last check found no setting that is sure to hold it."""
        return self._last is not None and self._last.state == "failing"

    @property
    def bound(self) -> float | None:
        """What the recall was at least, at the last check that could tell."""
        last = self._last
        return None if last is None or last.state == "too few queries" else last.bound

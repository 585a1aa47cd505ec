"""What goes on beside reads and writes: fresh records become segments, segments are joined under one graph.

Two threads, as a join may take minutes and a seal must not wait for it. What fails is told in `trouble` and tried again
after the next write, or a second: nothing is lost, as the log keeps what is not yet in a segment.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from paceline.base.errors import PacelineError, StorageError, StorageFull
from paceline.vectors.contents import GraphPlan, joined, sealed
from paceline.vectors.files import Files
from paceline.vectors.join_plan import to_join, to_join_quickly, worn_parts
from paceline.vectors.join_process import JoinInput, JoinJob, JoinProcess
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.segment import Segment
from paceline.vectors.state import State
from paceline.vectors.view import Part
from paceline.vectors.wal import Log

_AGAIN_S: Final = 1.0
_CALM_S: Final = 3.0
"""Without a new segment so long, segments are joined with care; before, quickly."""
_QUICK_EF: Final = 64
"""ef_construction of a graph over fresh records: of 8,192 it takes 0.4 s, a third of 200's, and finds 0.990 with ef 48
instead of 0.993."""


class Upkeep:
    """Seals and joins, in threads that end with `close`."""

    def __init__(self, files: Files, state: State, policy: VectorsPolicy, log: Log) -> None:
        self._files = files
        self._state = state
        self._policy = policy
        self._log = log
        self._turn = threading.Condition()  # protects all below; never held while something is done
        self._closing = False
        self._held = 0
        self._wanted = 0  # calls of `compact` not yet served
        self._awaited = 0  # calls of `settle` that wait
        self._sealed_at = -_CALM_S
        self._woken = 0
        self._busy: set[str] = set()
        self._unpublished = False
        self._unverified = (
            [segment for segment, _ in state.view.segments()] if policy.upkeep.verify_at_open else []
        )
        self._process: JoinProcess | None = None
        self.troubles: dict[str, PacelineError] = {}
        """By job, seal or join: why the last try failed."""
        self._threads = [
            threading.Thread(target=self._keep_doing, args=(name, job), name=f"vectors-{name}", daemon=True)
            for name, job in (("seal", self._seal), ("join", self._join))
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        with self._turn:
            self._woken += 1
            self._turn.notify_all()

    def wait_for_room(self) -> None:
        """Wait while too many fresh records are not yet files. The seal's error, if it is that which fails."""
        most = self._policy.upkeep.most_sealing
        with self._turn:
            while len(self._state.frozen) >= most and not self._closing:
                trouble = self.troubles.get("seal")
                if trouble is not None:
                    self._turn.notify_all()
                    raise StorageFull(f"fresh records cannot be written as a segment: {trouble.message}")
                self._turn.wait(_AGAIN_S)

    def settle(self) -> None:
        """Wait until there is nothing to do. The error of what fails."""
        with self._turn:
            self._awaited += 1
            self._woken += 1
            self._turn.notify_all()
            try:
                while not self._closing and self._is_something_to_do():
                    if self.troubles:
                        raise next(iter(self.troubles.values()))
                    self._turn.wait(_AGAIN_S)
            finally:
                self._awaited -= 1

    def compact(self) -> None:
        """Join all that can be one segment, and wait for it."""
        with self._turn:
            self._wanted += 1
            self._turn.notify_all()
        self.settle()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Joins wait while the block runs: for a large load, after which all is joined once."""
        with self._turn:
            self._held += 1
        try:
            yield
        finally:
            with self._turn:
                self._held -= 1
                self._turn.notify_all()

    def close(self) -> None:
        """End the threads; a join that runs is given up."""
        with self._turn:
            self._closing = True
            if self._process is not None:
                self._process.stop()
            self._turn.notify_all()
        for thread in self._threads:
            thread.join()

    def _is_something_to_do(self) -> bool:
        waiting = self._busy or self._state.frozen or self._wanted or self._unverified
        return bool(waiting or (not self._held and self._chosen()))

    def _chosen(self) -> Sequence[Part]:
        """What is to be joined with care."""
        return to_join(self._state.view.sealed, self._policy.upkeep, everything=self._wanted > 0)

    def _keep_doing(self, name: str, job: Callable[[], bool]) -> None:
        while True:
            with self._turn:
                if self._closing:
                    return
                self._busy.add(name)
                woken = self._woken
            done, trouble = False, None
            try:
                done = job()
            except PacelineError as error:
                trouble = error
            except Exception as error:  # noqa: BLE001 - the thread must live, and settle() tells it
                trouble = PacelineError(f"{name} failed: {type(error).__name__}: {error}")
            with self._turn:
                self._busy.discard(name)
                if trouble is None:
                    self.troubles.pop(name, None)
                else:
                    self.troubles[name] = trouble
                if done:
                    self._woken += 1
                self._turn.notify_all()
                if not done and not self._closing and woken == self._woken:
                    self._turn.wait(_AGAIN_S if trouble is not None or self._is_hurried() else None)

    def _seal(self) -> bool:
        """Write the oldest frozen tail as a segment; whether there was one."""
        with self._state.writing:
            frozen = self._state.frozen[0] if self._state.frozen else None
            sealed_parts = self._state.view.sealed
        if frozen is None:
            if self._unpublished:
                self._publish()
            return False
        live = next(part.live for part in sealed_parts if part.source is frozen.rows)
        content = (
            sealed(frozen.rows, self._state.schema, self._quick_plan(len(frozen.rows))) if live else None
        )
        segment = None if content is None else self._files.write(content)
        with self._state.writing:
            self._state.sealed_as(frozen, segment)
        with self._turn:
            self._sealed_at = time.monotonic()
        self._publish()
        return True

    def _is_hurried(self) -> bool:
        """Whether records come in, and nobody waits for the last graph."""
        asked = self._wanted or self._awaited
        return not asked and time.monotonic() - self._sealed_at < _CALM_S

    def _quick_plan(self, rows: int) -> GraphPlan | None:
        """How to build the graph of fresh records: none for few, or while more records wait for the same."""
        search = self._policy.search
        if rows < self._policy.upkeep.quick_rows or len(self._state.frozen) > 1:
            return None
        return GraphPlan(search.m, min(search.ef_construction, _QUICK_EF), 1, quick=True)

    def _publish(self) -> None:
        self._unpublished = True  # so that it is tried again, should it fail
        self._files.publish(self._state, self._log)
        self._unpublished = False

    def _join(self) -> bool:
        """Join the segments that are due, after any that are to be verified; whether there were any."""
        if self._unverified:
            self.verified(self._unverified.pop())
            return True
        with self._turn:
            if self._held and not self._wanted:
                return False
            sealed_parts, policy = self._state.view.sealed, self._policy.upkeep
            hurried = self._is_hurried()
            chosen: Sequence[Part] = to_join_quickly(sealed_parts, policy) if hurried else []
            quick = bool(chosen)
            if not hurried or (not quick and worn_parts(sealed_parts, policy)):
                chosen = [] if self._wanted and self._state.frozen else self._chosen()
            if not chosen:
                if not self._state.frozen:
                    self._wanted = 0
                return False
        if not self._all_whole(chosen):
            return True
        segment = self._joined(chosen, quick=quick) if any(part.live for part in chosen) else None
        with self._state.writing:
            if not self._state.joined_as(chosen, segment):
                return True  # what was written is removed when the collection is next opened
        self._publish()
        return True

    def _all_whole(self, parts: Sequence[Part]) -> bool:
        """Whether all may be read: what is damaged is set aside, so that it does not spread."""
        whole = True
        for part in parts:
            assert isinstance(part.source, Segment)
            whole &= self.verified(part.source)
        return whole

    def verified(self, segment: Segment) -> bool:
        """Whether a segment holds what was written; if not, the collection goes on without it."""
        try:
            segment.verify()
        except StorageError as error:
            self._files.mark_damaged(int(segment.folder.name), error.message)
            with self._state.writing:
                self._state.set_aside(segment)
            self._publish()
            return False
        return True

    def _joined(self, parts: Sequence[Part], *, quick: bool) -> Segment:
        sources = [(part.source, part.live_rows()) for part in parts]
        taken = [(segment, rows) for segment, rows in sources if isinstance(segment, Segment) and len(rows)]
        total = sum(len(rows) for _, rows in taken)
        upkeep, search = self._policy.upkeep, self._policy.search
        threads = upkeep.threads or max(1, len(os.sched_getaffinity(0)) // 2)
        plan = None
        if total >= upkeep.graph_rows:
            plan = GraphPlan(search.m, search.ef_construction, threads)
            if quick:
                plan = GraphPlan(search.m, min(search.ef_construction, _QUICK_EF), threads, quick=True)
        if plan is None or total < upkeep.process_rows:
            return self._files.write(joined(taken, self._state.schema, plan))
        folder = self._files.segment_folder(self._files.new_number())
        inputs = [JoinInput.of(segment, self._files.digest_of(segment), rows) for segment, rows in taken]
        process = JoinProcess(JoinJob(inputs, self._state.schema, plan, str(folder)))
        with self._turn:
            self._process = process
            if self._closing:
                process.stop()
        try:
            return self._files.opened(folder, process.result())
        finally:
            with self._turn:
                self._process = None

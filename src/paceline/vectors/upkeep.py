"""What goes on beside reads and writes: fresh records come under a graph and become segments, segments are joined.

A thread each, as a join may take minutes, and neither a seal nor the graph of what is written now must wait for it. What fails is told in `trouble` and tried again
after the next write, or a second: nothing is lost, as the log keeps what is not yet in a segment.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from paceline.base.errors import PacelineError, StorageError, StorageFull
from paceline.vectors.contents import joined, sealed
from paceline.vectors.files import Files
from paceline.vectors.graph_plan import GraphPlan
from paceline.vectors.join_plan import to_join, to_join_quickly, to_recode, worn_parts
from paceline.vectors.join_process import JoinInput, JoinJob, JoinProcess
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.reencode import recoded
from paceline.vectors.segment import Segment
from paceline.vectors.state import State
from paceline.vectors.view import Part
from paceline.vectors.wal import Log

_AGAIN_S: Final = 1.0
_CALM_S: Final = 3.0
"""Without a new segment so long, segments are joined with care; before, quickly."""
_GROWN_AT_ONCE: Final = 256
"""Fresh rows that come under their graph before searches see it: some 5 ms."""


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
        self._written_at = -_CALM_S
        """When writes last filled a tail or let its graph wait, in `time.monotonic` seconds."""
        self._has_taken_fresh = False
        """Whether the join that is due has had the fresh records sealed."""
        self._woken = 0
        self._busy: set[str] = set()
        self._unpublished = False
        self._unverified = (
            [segment for segment, _ in state.view.segments()] if policy.upkeep.verify_at_open else []
        )
        self._process: JoinProcess | None = None
        self.troubles: dict[str, PacelineError] = {}
        """By job, grow, seal or join: why the last try failed."""
        self._growth = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_doing, args=(name, job), name=f"vectors-{name}", daemon=True)
            for name, job in (("seal", self._seal), ("join", self._join))
        ]
        self._threads.append(threading.Thread(target=self._keep_growing, name="vectors-grow", daemon=True))
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        with self._turn:
            self._woken += 1
            self._turn.notify_all()

    def wake_growth(self) -> None:
        """Fresh records wait for their graph."""
        self._written_at = time.monotonic()
        self._growth.set()

    def wait_for_room(self) -> None:
        """Wait while too many fresh records are not yet files. The seal's error, if it is that which fails."""
        most = self._policy.upkeep.most_sealing
        with self._turn:
            while len(self._state.frozen) >= most and not self._closing:
                trouble = self.troubles.get("seal")
                if trouble is not None:
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
            self.wake()

    def close(self) -> None:
        """End the threads; a join that runs is given up."""
        with self._turn:
            self._closing = True
            if self._process is not None:
                self._process.stop()
            self._turn.notify_all()
        self._growth.set()
        for thread in self._threads:
            thread.join()

    def _is_something_to_do(self) -> bool:
        waiting = self._busy or self._state.frozen or self._wanted or self._unverified
        return bool(waiting or (not self._held and (self._chosen() or self._stale())))

    def _chosen(self) -> Sequence[Part]:
        """What is to be joined with care."""
        return to_join(self._state.view.sealed, self._policy.upkeep, everything=self._wanted > 0)

    def _stale(self) -> Part | None:
        return to_recode(self._state.view.sealed, self._state.schema)

    def _keep_doing(self, name: str, job: Callable[[], bool]) -> None:
        _work_patiently()
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
                again_s = _AGAIN_S if trouble is not None or self._is_hurried() else None
                # Others are notified of this end too; it is no reason for either thread to look again.
                self._turn.wait_for(lambda: self._closing or woken != self._woken, again_s)  # noqa: B023 - within the turn

    def _keep_growing(self) -> None:
        _work_patiently()
        while True:
            self._growth.wait()
            self._growth.clear()
            try:
                while not self._closing and self._state.tail.grow(_GROWN_AT_ONCE):
                    pass
                self.troubles.pop("grow", None)
            except Exception as error:  # noqa: BLE001 - the thread must live; what has no graph is scanned
                self.troubles["grow"] = PacelineError(f"grow failed: {type(error).__name__}: {error}")
            if self._closing:
                return

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
        while live and not self._closing and frozen.rows.tail.grow(_GROWN_AT_ONCE):
            pass
        content = sealed(frozen.rows, self._state.schema) if live else None
        segment = None if content is None else self._files.write(content)
        with self._state.writing:
            self._state.sealed_as(frozen, segment)
        if not self._has_taken_fresh:
            self._written_at = time.monotonic()
        self._publish()
        return True

    def _is_hurried(self) -> bool:
        """Whether records come in, and nobody waits for the last graph."""
        asked = self._wanted or self._awaited
        return not asked and time.monotonic() - self._written_at < _CALM_S

    def _publish(self) -> None:
        self._unpublished = True  # so that it is tried again, should it fail
        self._files.publish(self._state, self._log)
        self._unpublished = False

    def _join(self) -> bool:
        """Verify what is to be verified, join what is due, then rewrite what is of another precision; whether there was any."""
        if self._unverified:
            self.verified(self._unverified.pop())
            return True
        chosen, quick, stale = self._due()
        if not chosen:
            self._has_taken_fresh = False
            return stale is not None and self._recode(stale)
        if not self._all_whole(chosen):
            return True
        if not quick:
            if not self._has_taken_fresh and self._take_fresh():
                return True
            if self._has_taken_fresh and self._state.frozen:
                return False  # the seal's end wakes this thread
            self._has_taken_fresh = False
        segment = self._joined(chosen, quick=quick) if any(part.live for part in chosen) else None
        with self._state.writing:
            if not self._state.joined_as(chosen, segment):
                return True  # what was written is removed when the collection is next opened
        self._publish()
        return True

    def _due(self) -> tuple[Sequence[Part], bool, Part | None]:
        """What to join, whether quickly, and, if there is nothing, what to rewrite."""
        with self._turn:
            if self._held and not self._wanted:
                return [], False, None
            sealed_parts, policy = self._state.view.sealed, self._policy.upkeep
            hurried = self._is_hurried()
            chosen: Sequence[Part] = to_join_quickly(sealed_parts, policy) if hurried else []
            if chosen:
                return chosen, True, None
            if not hurried or worn_parts(sealed_parts, policy):
                chosen = [] if self._wanted and self._state.frozen else self._chosen()
            if chosen:
                return chosen, False, None
            if not self._state.frozen:
                self._wanted = 0
            return [], False, self._stale()

    def _take_fresh(self) -> bool:
        """Let the fresh records become a segment, for the join that is due to take them in; whether there are some."""
        with self._state.writing:
            if self._state.tail.count == 0:
                return False
            self._has_taken_fresh = True
            self._state.freeze(self._log.rotate())
        self.wake()
        return True

    def _recode(self, part: Part) -> bool:
        """Write a segment in the precision that the schema says, in its place."""
        if not self._all_whole([part]):
            return True
        assert isinstance(part.source, Segment)
        segment = self._files.write(recoded(part.source, self._state.schema))
        with self._state.writing:
            if not self._state.recoded_as(part.source, segment):
                return True  # as in `_join`
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
        upkeep = self._policy.upkeep
        threads = upkeep.threads or max(1, len(os.sched_getaffinity(0)) // 2)
        plan = None
        if total >= upkeep.graph_rows:
            made = GraphPlan.of_fresh if quick else GraphPlan.careful
            plan = made(self._policy, threads)
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


def _work_patiently() -> None:
    """Let this thread, when it wakes, not take the core of one that searches: it gets its share, but later.

    Lower priority would be dangerous: who is not run while it holds the interpreter's lock keeps everybody waiting.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):  # some sandboxes forbid it; nothing depends on it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

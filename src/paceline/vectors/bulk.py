"""Loading many records through whatever takes batches of them: `load`.

Batches of 100, four on their way at once, each tried three times with waits that double. A journal beside the file says
which batches were acknowledged, so that a load that was interrupted, or gave some up, goes on where it is needed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from paceline.base.errors import ConfigError, PacelineError
from paceline.flow.retry import RetryPolicy, retry
from paceline.vectors.bulk_files import read_records
from paceline.vectors.bulk_journal import Journal, Source

Read = Callable[[Path, str, int], Iterator[Any]]
"""Reads a file from a record on, given the namespace of those that say none: `read_records`, or a `TextFields`."""
Upsert = Callable[[Sequence[Any]], Awaitable[object]]
"""Takes one batch of what is read; returns once it is acknowledged."""
Sleep = Callable[[float], Awaitable[None]]

_MOST_FAILED: Final = 20
"""Batches given up after which a load gives up itself: then it is not the batches."""


class LoadPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a load goes about it."""

    batch: int = 100
    at_once: int = 4
    retry: RetryPolicy = RetryPolicy(attempts=3, first_wait_s=0.5, multiplier=2.0)


class Loaded(msgspec.Struct, frozen=True):
    """How far a load has come."""

    records: int
    """Acknowledged now."""
    skipped: int
    """Acknowledged by an earlier load."""
    failed: dict[int, str]
    """Batches given up, and why; another load tries them again."""

    @property
    def is_complete(self) -> bool:
        """Whether all have arrived."""
        return not self.failed


Progress = Callable[[Loaded], None]


async def load(  # noqa: PLR0913 - keywords, each with a default
    file: Path,
    upsert: Upsert,
    *,
    namespace: str = "",
    journal: Path | None = None,
    into: str = "",
    read: Read = read_records,
    policy: LoadPolicy = LoadPolicy(),  # noqa: B008 - frozen
    progress: Progress = lambda _: None,
    sleep: Sleep = asyncio.sleep,
    rng: Callable[[], float] = random.random,
) -> Loaded:
    """Load all records of `file`; `journal` is FILE.journal unless it is said.

    `into` says where the records go: a journal of another place is refused, as they have not arrived here.
    A batch that is refused, or fails each time, is left out and told; what is wrong with the file itself is raised, and
    what was acknowledged until then stays in the journal.
    """
    if policy.batch < 1 or policy.at_once < 1:
        raise ConfigError(f"batch is {policy.batch} and at_once {policy.at_once}; both are 1 or more")
    read(file, namespace, 0)  # says at once if it cannot
    kept = Journal(journal or journal_of(file), Source.of(file, policy.batch, into))
    first = next(number for number in range(len(kept.done) + 1) if number not in kept.done)
    records = read(file, namespace, first * policy.batch)
    state = _Load(kept, _batches(records, first, policy.batch), upsert, policy, progress, sleep, rng)
    state.skipped = first * policy.batch
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(policy.at_once):
                group.create_task(state.work())
    except BaseExceptionGroup as failed:
        kept.close(is_complete=False)
        raise failed.exceptions[0] from None
    except BaseException:  # interrupted: what was acknowledged is not sent again
        kept.close(is_complete=False)
        raise
    done = state.so_far()
    kept.close(is_complete=done.is_complete)
    return done


def journal_of(file: Path) -> Path:
    """Where the journal of a file's load is."""
    return file.with_name(file.name + ".journal")


class _Load:
    """One load; its workers take batches from one iterator."""

    def __init__(  # noqa: PLR0913, PLR0917 - what `load` was given
        self,
        journal: Journal,
        batches: Iterator[tuple[int, list[Any]]],
        upsert: Upsert,
        policy: LoadPolicy,
        progress: Progress,
        sleep: Sleep,
        rng: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._batches = batches
        self._upsert = upsert
        self._policy = policy
        self._progress = progress
        self._sleep = sleep
        self._rng = rng
        self._done_before = frozenset(journal.done)
        self._records = 0
        self.skipped = 0
        """Records of batches that were there before."""
        self._failed: dict[int, str] = {}

    async def work(self) -> None:
        """Load batches until there are no more."""
        for number, batch in self._batches:
            if number in self._done_before:
                self.skipped += len(batch)
                continue
            try:
                await retry(
                    lambda batch=batch: self._upsert(batch),  # type: ignore[misc]  # of one call
                    self._policy.retry,
                    on=(OSError,),
                    sleep=self._sleep,
                    rng=self._rng,
                )
            except (PacelineError, OSError) as error:
                self._failed[number] = str(error)
                if len(self._failed) >= _MOST_FAILED:
                    raise PacelineError(
                        f"{len(self._failed)} batches failed, the last with: {error}; put it right and load again, "
                        "only what is missing will be sent"
                    ) from error
            else:
                self._journal.add(number)
                self._records += len(batch)
            self._progress(self.so_far())

    def so_far(self) -> Loaded:
        """What has happened."""
        return Loaded(self._records, self.skipped, dict(self._failed))


def _batches(records: Iterator[Any], first: int, size: int) -> Iterator[tuple[int, list[Any]]]:
    """Numbered from `first` on, in order."""
    number, batch = first, []
    for record in records:
        batch.append(record)
        if len(batch) == size:
            yield number, batch
            number, batch = number + 1, []
    if batch:
        yield number, batch

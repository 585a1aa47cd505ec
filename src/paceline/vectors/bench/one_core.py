"""One core for all threads of this process, so that a library with threads of its own has no more than one without."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


@contextmanager
def one_core() -> Iterator[None]:
    """While the block runs, every thread of this process and of its children runs on the last core it may use.

    Threads that start meanwhile inherit it. Does nothing where the system cannot pin threads.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    _pin({max(before)})
    try:
        yield
    finally:
        _pin(before)


def _pin(cores: set[int]) -> None:
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):
            for thread in process.threads():
                with suppress(OSError):  # it ended meanwhile
                    os.sched_setaffinity(thread.id, cores)

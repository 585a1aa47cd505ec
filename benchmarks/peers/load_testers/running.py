"""Runs one load tester on its core and watches what it costs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field

import psutil

from benchmarks.targets import GENERATOR_CORE, Target, pinned


@dataclass(frozen=True)
class Sample:
    """One look at the tester's processes and at what the target had answered by then."""

    at_s: float
    cpu_s: float
    rss_bytes: int
    timed: int


@dataclass
class Watched:
    """What a command wrote and used."""

    status: int
    output: str
    errors: str
    wall_s: float
    samples: list[Sample] = field(default_factory=list)

    def cpu_us_per_answer(self) -> float | None:
        """User and system time for each answer (or token) of the target, between the first and last quarter of the load."""
        busy = [
            before
            for before, after in zip(self.samples, self.samples[1:], strict=False)
            if after.timed > before.timed > 0
        ]
        if len(busy) < 4:
            return None
        first, last = busy[len(busy) // 4], busy[-1]
        return 1e6 * (last.cpu_s - first.cpu_s) / (last.timed - first.timed)


def watched(
    command: list[str],
    target: Target | None = None,
    *,
    environment: dict[str, str] | None = None,
    core: int | None = GENERATOR_CORE,
    timeout_s: float = 600.0,
    every_s: float = 0.5,
    accepted: tuple[int, ...] = (0,),
) -> Watched:
    """Run it to its end, looking at it `every_s` when there is a responder to ask; raises RuntimeError for other statuses."""
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile() as errors,
        tempfile.TemporaryFile() as output,
    ):
        process = subprocess.Popen(
            [*pinned(core), *command],
            stdout=output,
            stderr=errors,
            cwd=folder,
            env=os.environ | (environment or {}),
        )
        samples: list[Sample] = []
        over = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, target, samples, over, every_s))
        if target is not None:
            watcher.start()
        try:
            status = process.wait(timeout_s)
        finally:
            process.kill()
            over.set()
            if target is not None:
                watcher.join()
        wall = time.perf_counter() - started
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    if status not in accepted:
        raise RuntimeError(
            f"{' '.join(command)} ended with {status}:\n{texts[0][-1500:]}\n{texts[1][-1500:]}"
        )
    return Watched(status, texts[0], texts[1], wall, samples)


def _watch(pid: int, target: Target, samples: list[Sample], over: threading.Event, every_s: float) -> None:
    started = time.perf_counter()
    spent: dict[int, float] = {}
    while not over.wait(every_s):
        with contextlib.suppress(psutil.Error, OSError):
            timed = target.stats()["timed"]
            process = psutil.Process(pid)
            rss = 0
            for each in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    spent[each.pid] = sum(each.cpu_times()[:2])
                    rss += each.memory_info().rss
            samples.append(Sample(time.perf_counter() - started, sum(spent.values()), rss, timed))

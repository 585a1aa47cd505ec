"""Several processes: one that owns the engines, N that speak HTTP, and this one that keeps them alive."""

from __future__ import annotations

import multiprocessing
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from paceline.app.engine_process import run_engine_process
from paceline.app.server import run_worker
from paceline.settings import Settings

RESTART_PAUSE_S = 0.5
QUICK_DEATH_S = 5.0
QUICK_DEATHS = 5
"""A process that dies this often within `QUICK_DEATH_S` of its start is broken, and so is the server."""


WRONG_SETTING = 2
"""Exit status of a process that found a setting wrong, as of the command line."""


class Child:
    """One supervised process: started, watched, restarted, stopped."""

    def __init__(self, name: str, start: Callable[[], BaseProcess]) -> None:
        self.name = name
        self._start = start
        self._quick_deaths = 0
        self.start()

    def start(self) -> None:
        """Start it (again)."""
        self._started_at = time.monotonic()
        self.process = self._start()
        self.process.start()

    def restart(self) -> bool:
        """Start a dead child again; False when it keeps dying at once."""
        quick = time.monotonic() - self._started_at < QUICK_DEATH_S
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        if self._quick_deaths >= QUICK_DEATHS:
            return False
        print(  # noqa: T201 - the supervisor's log is its standard error
            f"paceline: {self.name} (pid {self.process.pid}) ended with {self.process.exitcode}; starting it again",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(RESTART_PAUSE_S)
        self.start()
        return True

    def stop(self) -> None:
        """Ask it to end. Once only: a second signal would tell it not to wait for open requests."""
        if self.process.is_alive():
            self.process.terminate()

    def join(self, timeout_s: float) -> None:
        """Wait for its end, then insist."""
        self.process.join(timeout_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class _Stop(Exception):  # noqa: N818 - not an error: a signal came
    pass


def supervise(settings: Settings, listener: socket.socket) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status. Requests under way end first (`serve.drain_s`)."""
    context = multiprocessing.get_context(
        "spawn"
    )  # fork would copy locks and threads of the libraries loaded here
    drain_s = settings.serve.drain_s

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _Stop

    with tempfile.TemporaryDirectory(prefix="paceline-") as folder:
        runtime = Path(folder)
        children: list[Child] = []
        try:
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)
            children.append(
                Child(
                    "engine process",
                    lambda: context.Process(target=run_engine_process, args=(settings, runtime)),
                )
            )
            for index in range(settings.serve.workers):
                children.append(  # noqa: PERF401 - each child is stopped even when starting the next one fails
                    Child(
                        f"worker {index}",
                        lambda index=index: context.Process(  # type: ignore[misc]
                            target=run_worker, args=(settings, listener, runtime, index)
                        ),
                    )
                )
            return _watch(children)
        except _Stop:
            return 0
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for group in (children[1:], children[:1]):  # the engine last: the workers' open requests need it
                for child in group:
                    child.stop()
                for child in group:
                    child.join(drain_s + 5)


def _watch(children: list[Child]) -> int:
    """Start dead children again, until one is beyond that; the exit status that says so."""
    while True:
        ended = wait([child.process.sentinel for child in children])
        for child in children:
            if child.process.sentinel in ended:
                child.process.join()  # its pipe closes a moment before it has an exit status
            if child.process.exitcode == WRONG_SETTING:
                return WRONG_SETTING  # it has said so, and would say it again
            if not child.process.is_alive() and not child.restart():
                print(  # noqa: T201
                    f"paceline: error: {child.name} keeps dying; see its messages above", file=sys.stderr
                )
                return 1

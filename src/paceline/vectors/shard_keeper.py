"""A shard's process, started again when it dies: `ShardKeeper`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from paceline.base.errors import EngineError
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.shard_process import ShardProcess

_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0
_STEADY_S: Final = 60.0
"""A process that lived this long did not die of how it started."""


def wait_s(deaths: int) -> float:
    """Before the next start, after so many deaths in a row: none after the first, then doubling, to a minute."""
    return 0.0 if deaths <= 1 else min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(deaths - 2, 30))


class ShardKeeper:
    """Owns the process of the collection in `folder`, which answers on `socket`; starts it at once, in a thread."""

    def __init__(
        self,
        folder: Path,
        socket: Path,
        policy: VectorsPolicy,
        *,
        skip_damaged: bool = False,
        wait_s: Callable[[int], float] = wait_s,
    ) -> None:
        self._start = partial(ShardProcess, folder, socket, policy, skip_damaged=skip_damaged)
        self._wait_s = wait_s
        self._turn = threading.Condition(threading.RLock())  # protects all below
        self._process: ShardProcess | None = None
        self._is_closing = False
        self._down = "its process is starting"
        self.tries = 0
        """Starts that have come to an end: an open collection, or the reason why not."""
        self._thread = threading.Thread(target=self._keep, name=f"shard-{folder.name}", daemon=True)
        self._thread.start()

    @property
    def down(self) -> str:
        """Why the shard does not answer now; empty while it does."""
        return self._down

    @property
    def pid(self) -> int:
        """Of the process that runs or ran last; 0 before the first."""
        process = self._process
        return 0 if process is None else process.pid

    def wait_for_try(self, number: int = 1, timeout_s: float | None = None) -> bool:
        """Wait until a start has come to an end for the `number`th time; whether it has."""
        with self._turn:
            return self._turn.wait_for(lambda: self.tries >= number or self._is_closing, timeout_s)

    def close(self) -> None:
        """Let the process close its collection, and wait for its end. May be called twice."""
        with self._turn:
            self._is_closing = True
            self._down = "its process is closed; open the collection again"
            if self._process is not None:
                self._process.let_go()
            self._turn.notify_all()
        self._thread.join()

    def _keep(self) -> None:
        deaths = 0
        while True:
            with self._turn:
                if self._is_closing:
                    return
                try:
                    process = self._process = self._start()
                except OSError as error:  # no room for another process
                    self._tried(f"its process does not start ({error})")
                    process = None
            if process is not None:
                began = time.monotonic()
                why = self._lived(process)
                deaths = 0 if time.monotonic() - began >= _STEADY_S else deaths
                self._say(why)
            deaths += 1
            with self._turn:
                self._turn.wait_for(lambda: self._is_closing, self._wait_s(deaths))

    def _lived(self, process: ShardProcess) -> str:
        """Wait for the end of a process; why it ended."""
        try:
            process.wait_until_open()
        except EngineError as error:
            self._tried(error.message)
            process.close()
            return error.message
        self._tried("")
        return f"its process ended with {process.wait()} and is started again"

    def _tried(self, down: str) -> None:
        with self._turn:
            self.tries += 1
            self._say(down)
            self._turn.notify_all()

    def _say(self, down: str) -> None:
        with self._turn:
            if not self._is_closing:
                self._down = down

"""Rests for work that goes on beside a server's own, and its end with the server's: `Pauses`."""

from __future__ import annotations

import threading
import time
from typing import Final

from paceline.base.errors import EngineError

CHECK_RESTS: Final = 3.0
"""A check rests this many times as long as it works: a quarter of a core, whatever the machine."""
_LONGEST_REST_S: Final = 5.0


class Ended(EngineError):  # noqa: N818 - what happened
    """The server ends, and what would take longer is given up."""


class Pauses:
    """Rests between pieces of work on one thread, until `ending` is set, which ends the work."""

    def __init__(self, ending: threading.Event, times: float) -> None:
        self._ending = ending
        self._times = times
        self._worked_from = time.monotonic()

    def rest(self) -> None:
        """Sleep so many times as long as the last piece took. Ended."""
        worked_s = time.monotonic() - self._worked_from
        if self._ending.wait(min(worked_s * self._times, _LONGEST_REST_S)):
            raise Ended("the server ends; ask again when it is back")
        self._worked_from = time.monotonic()

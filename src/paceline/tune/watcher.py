"""Who is told how a tune goes on: the pipeline speaks, a terminal or a log shows it."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Called from the thread that tunes; every call returns at once."""

    def phase(self, name: str, total: int | None) -> None:
        """A phase begins, and the one before it is over. `total` is how often `advance` will be called, if known."""

    def step(self, text: str) -> None:
        """A step of the phase is done; `text` says what came out."""

    def advance(self, n: int = 1) -> None:
        """`n` further parts of `total` are done."""

    def note(self, text: str) -> None:
        """Something a user should know though it ends nothing."""


class Silence:
    """For callers who only want the report."""

    def phase(self, name: str, total: int | None) -> None:
        """Nothing is shown."""

    def step(self, text: str) -> None:
        """Nothing is shown."""

    def advance(self, n: int = 1) -> None:
        """Nothing is shown."""

    def note(self, text: str) -> None:
        """Nothing is shown."""

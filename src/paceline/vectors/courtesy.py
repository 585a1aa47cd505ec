"""Work in Python lets searches go first: `give_way` sleeps for a moment while any is under way.

A thread that runs Python keeps all others waiting for up to `sys.getswitchinterval()`, 5 ms: twenty times what a search
takes. Writers and seals, which have many small things to do for each record, ask here between some hundred of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")

_MOMENT_S: Final = 50e-6
"""Long enough for a waiting thread to wake and take its turn."""
_AT_ONCE: Final = 256

_under_way: list[None] = []
"""One for each search; appending and removing are single steps of the interpreter."""


class going_first:  # noqa: N801 - reads as what it does: with going_first()
    """Others give way while the block runs. A class, as it enters and leaves in a quarter of a generator's time."""

    def __enter__(self) -> None:
        _under_way.append(None)

    def __exit__(self, *_: object) -> None:
        _under_way.pop()


def give_way() -> None:
    """Sleep for a moment if a search is under way; otherwise it costs nothing."""
    if _under_way:
        time.sleep(_MOMENT_S)


def courteously(items: Iterable[T], at_once: int = _AT_ONCE) -> Iterator[T]:
    """The items, giving way after so many of them."""
    left = iter(items)
    while part := list(islice(left, at_once)):
        yield from part
        if len(part) == at_once:
            give_way()

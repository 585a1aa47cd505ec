"""What a sharded collection wants of a shard: `Shard`.

A `Collection` is a shard in this process, a `RemoteShard` one in another; `lost` stands for one that cannot be opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn, Protocol, cast

from paceline.base.errors import Unreachable
from paceline.vectors.any_collection import CollectionCalls
from paceline.vectors.record import Record


class Shard(CollectionCalls, Protocol):
    """A part of a sharded collection."""

    def take_over(self, records: Iterable[Record]) -> int:
        """See `Collection.take_over`."""
        ...


class _Lost:
    """Fails whatever is asked of it."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __getattr__(self, name: str) -> NoReturn:
        raise Unreachable(self._why)

    def close(self) -> None:
        """There is nothing to close."""


def lost(why: str) -> Shard:
    """A shard that is not there: every use of it is Unreachable, for this reason."""
    return cast("Shard", _Lost(why))

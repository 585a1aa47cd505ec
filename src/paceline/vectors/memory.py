"""Working memory of one search at a time: where compiled functions keep their lists, and the request that names it."""

from __future__ import annotations

import struct
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.vectors.bitmap import words_for
from paceline.vectors.codes import aligned_rows
from paceline.vectors.compiled import records as of

ORDERS_AT_ONCE = 1024
"""Rows that are scored in one go at most."""
_WANTED: Final = struct.Struct("7q")
"""The fields of `Wanted`: written in a third of the time that numpy takes to assign them."""


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """What is asked of a search: the first fields of the request (`records`), in its order."""

    ef: int
    room: int
    need: int
    final: int
    top: int
    allow: int = 0
    deny: int = 0


class Memory:
    """For searches among `rows` rows by `queries` queries at once; grows when a search wants more results.

    Pages that a search never touches are never made: a large index costs address space, not memory.
    """

    def __init__(self, rows: int, dimensions: int, queries: int = 1) -> None:
        self.rows, self.dimensions = rows, dimensions
        self.request = np.zeros(of.REQUEST, np.int64)
        self.graph = np.zeros(of.GRAPH, np.int64)
        self.sides = np.zeros((2, of.SIDE), np.int64)
        self.states = np.zeros((queries, 2, of.STATE), np.float32)
        self.counts = np.zeros(queries, np.int64)
        self._visited = np.zeros(words_for(rows), np.uint64)
        self._touched: NDArray[np.int32] = np.empty(rows + ORDERS_AT_ONCE, np.int32)
        self._orders = np.zeros(ORDERS_AT_ONCE, np.int32)
        code_bytes = 4 * of.BLOCK * -(-dimensions // of.BLOCK)
        self._codes = aligned_rows(2 * queries, code_bytes)
        self._pool: NDArray[np.int64] = np.zeros(0, np.int64)
        self._wanted = self.request.data
        self.request[of.TOUCHED] = self._touched.ctypes.data
        self.request[of.VISITED] = self._visited.ctypes.data
        self.request[of.ORDERS] = self._orders.ctypes.data
        self.request[of.CODE] = self._codes.ctypes.data
        self.request[of.EXACT_CODE] = self._codes.ctypes.data + code_bytes

    def make_room(self, room: int) -> None:
        """For pools of so many rows."""
        wanted = len(self.counts) * room + 1
        if len(self._pool) < wanted:
            self._pool = np.zeros(wanted, np.int64)
            self.request[of.POOL] = self._pool.ctypes.data

    def ask(self, wanted: Wanted) -> None:
        """Write the request."""
        self.make_room(wanted.room)
        _WANTED.pack_into(
            self._wanted,
            0,
            wanted.ef,
            wanted.room,
            wanted.need,
            wanted.final,
            wanted.top,
            wanted.allow,
            wanted.deny,
        )


class Memories:
    """One for each search that goes on at once; there come to be as many as there are threads."""

    def __init__(self) -> None:
        self._free: list[Memory] = []

    def taken(self, rows: int, dimensions: int) -> Memory:
        """For searches among so many rows of so many dimensions, which are always as many."""
        try:
            memory = self._free.pop()
        except IndexError:
            return Memory(_room_for(rows), dimensions)
        return memory if memory.rows >= rows else Memory(_room_for(rows), dimensions)

    def give_back(self, memory: Memory) -> None:
        """For the next."""
        self._free.append(memory)


def _room_for(rows: int) -> int:
    """The next power of two: rows may become more."""
    return 1 << rows.bit_length()

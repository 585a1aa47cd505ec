"""Working memory of one search at a time: where compiled functions keep their lists, and the request that names it."""

from __future__ import annotations

import struct
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from paceline.vectors.bitmap import words_for
from paceline.vectors.codes import aligned_rows
from paceline.vectors.compiled import records as of

ORDERS_AT_ONCE = 1024
"""Rows that are scored in one go at most."""
TURNS: Final = 2
"""Walks that take turns on one thread (`compiled.turns`)."""
_WANTED: Final = struct.Struct(f"{of.WISHES}q")
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
    least: int = 0
    reach: int = 0


class Memory:
    """For searches among `rows` rows: scans by `queries` queries at once, walks in TURNS; grows when one wants more results.

    Pages that a search never touches are never made: a large index costs address space, not memory.
    """

    def __init__(self, rows: int, dimensions: int, queries: int = 1) -> None:
        self.rows, self.dimensions = rows, dimensions
        at_once = max(queries, TURNS)
        self.requests = np.zeros((TURNS, of.REQUEST), np.int64)
        self.request = self.requests[0]
        """What is wanted is written here; those of the other turns have working memory of their own."""
        self.graphs = np.zeros((TURNS, of.GRAPH), np.int64)
        self.sides = np.zeros((TURNS, 2, of.SIDE), np.int64)
        self.states = np.zeros((at_once, 2, of.STATE), np.float32)
        self.counts = np.zeros(queries, np.int64)
        self._visited = np.zeros((TURNS, words_for(rows)), np.uint64)
        self._touched: NDArray[np.int32] = np.empty((TURNS, rows + ORDERS_AT_ONCE), np.int32)
        self._orders = np.zeros((TURNS, ORDERS_AT_ONCE), np.int32)
        code_bytes = 4 * of.BLOCK * -(-dimensions // of.BLOCK)
        self._codes = aligned_rows(2 * at_once, code_bytes)
        self._pool: NDArray[np.int64] = np.zeros(0, np.int64)
        self._wanted = self.request.data
        for turn, request in enumerate(self.requests):
            request[of.TOUCHED] = self._touched[turn].ctypes.data
            request[of.VISITED] = self._visited[turn].ctypes.data
            request[of.ORDERS] = self._orders[turn].ctypes.data
            request[of.CODE] = self._codes[2 * turn].ctypes.data
            request[of.EXACT_CODE] = request[of.CODE] + code_bytes

    def make_room(self, room: int) -> None:
        """For pools of so many rows."""
        wanted = len(self.states) * room + 1
        if len(self._pool) < wanted:
            self._pool = np.zeros(wanted, np.int64)
            self.request[of.POOL] = self._pool.ctypes.data

    def ask(self, wanted: Wanted) -> None:
        """Write the request."""
        self.make_room(wanted.room)
        _WANTED.pack_into(self._wanted, 0, *astuple(wanted))


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

"""Working memory of one search at a time: where compiled functions keep their lists, and the request that names it."""

from __future__ import annotations

import struct
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.vectors.bitmap import words_for
from paceline.vectors.codes import Coder, aligned_rows
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

    def __init__(self, rows: int, coders: tuple[Coder, Coder], queries: int = 1) -> None:
        self.request = np.zeros(of.REQUEST, np.int64)
        self.states = np.zeros((queries, 2, of.STATE), np.float32)
        self.counts = np.zeros(queries, np.int64)
        self._visited = np.zeros(words_for(rows), np.uint64)
        self._touched: NDArray[np.int32] = np.empty(rows + ORDERS_AT_ONCE, np.int32)
        self._orders = np.zeros(ORDERS_AT_ONCE, np.int32)
        code_bytes = 4 * of.BLOCK * max(coder.blocks for coder in coders)
        self._codes = aligned_rows(2 * queries, code_bytes)
        self._pool: NDArray[np.int64] = np.zeros(0, np.int64)
        self._wanted = self.request.data
        self.request[of.TOUCHED] = self._touched.ctypes.data
        self.request[of.VISITED] = self._visited.ctypes.data
        self.request[of.ORDERS] = self._orders.ctypes.data
        self.request[of.CODE] = self._codes.ctypes.data
        self.request[of.EXACT_CODE] = self._codes.ctypes.data + code_bytes

    def ask(self, wanted: Wanted) -> None:
        """Write the request."""
        room = len(self.counts) * wanted.room + 1
        if len(self._pool) < room:
            self._pool = np.zeros(room, np.int64)
            self.request[of.POOL] = self._pool.ctypes.data
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

"""What the threads must know before a step begins: where each row's keys go, and the tiles of attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.generate.compiled.crew import compiled
from paceline.generate.compiled.rows import INT32
from paceline.generate.compiled.words import index, write

PLANNED, NO_TOKEN, NO_POSITION, NO_BLOCK = 0, 1, 2, 3
"""Whether a batch can be run, or what in it is outside of the model's tables: nobody else checks."""
_BLOCK = 16
_TILE_BYTES = 12


@compiled
def plan(model: Any, step: Any) -> int:
    """Fill `row_slots`, `tile_table` and `tiles` of the step; PLANNED, or what is wrong with the batch."""
    tiles = 0
    for sequence in range(step.sequences):
        first = index(step.row_starts + 4 * sequence)
        end = index(step.row_starts + 4 * sequence + 4)
        table = step.tables + 4 * sequence * step.table_width
        for row in range(first, end):
            token = index(step.row_tokens + 4 * row)
            position = index(step.row_positions + 4 * row)
            if token < 0 or token >= model.vocab:
                return NO_TOKEN
            if position < 0 or position >= model.positions or position >= _BLOCK * step.table_width:
                return NO_POSITION
            block = index(table + 4 * (position // _BLOCK))
            if block < 0 or block >= model.blocks:
                return NO_BLOCK
            write(INT32, step.row_slots + 4 * row, np.int32(block * _BLOCK + position % _BLOCK))
        for begin in range(first, end, step.tile_rows):
            place = step.tile_table + _TILE_BYTES * tiles
            write(INT32, place, np.int32(sequence))
            write(INT32, place + 4, np.int32(begin))
            write(INT32, place + 8, np.int32(min(step.tile_rows, end - begin)))
            tiles += 1
    step.tiles = tiles
    return PLANNED

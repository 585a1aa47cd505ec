"""Rows times a packed matrix: threads take panels, a panel stays near its core while the tiles of rows go over it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from paceline.generate.compiled import lanes
from paceline.generate.compiled.crew import compiled, finish, inlined, take, wait_phase
from paceline.generate.compiled.lanes import Lanes
from paceline.generate.compiled.rows import FLOAT, INT8, INT32, gated, input_bytes
from paceline.generate.compiled.tiles import (
    PANEL,
    PANEL_STEP_BYTES,
    ROW_TRAILER,
    STEP_BYTES,
    TILE_ROWS,
    multiply,
)
from paceline.generate.compiled.words import read, same_type

# Typed numbers: a plain constant would make the compiler write the function anew for each.
STORE, ADD, GATE = (cast("int", np.int64(number)) for number in range(3))
"""What becomes of the sums: stored with a bias, added to what is there, or silu(first half) * second half of a panel."""
NO_BIAS = cast("int", np.int64(0))
PARTS = cast("int", np.int64(4))
"""A thread takes a fourth of what is left, so that all end together."""
TILE_BYTES = TILE_ROWS * PANEL * 4
"""Room that a thread needs for the sums of a tile."""
_FETCHED_AHEAD = 4096
"""Bytes: 8 % faster than what the processor fetches by itself; 1,024 and 16,384 are as slow as none."""
_LINE = 64


@compiled
def product(
    control: int,
    phase: int,
    kind: Any,
    rows: int,
    inputs: int,
    values: int,
    matrix: int,
    scales: int,
    columns: int,
    bias: int,
    after: int,
    out: int,
    stride: int,
    scratch: int,
) -> None:
    """A phase: `rows` rows of `values` values from `inputs` times a packed matrix of `columns` (whole panels)."""
    panels = columns // PANEL
    row_bytes = input_bytes(kind, values)
    steps = (row_bytes - ROW_TRAILER) // STEP_BYTES
    panel_bytes = steps * PANEL_STEP_BYTES
    tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    pace = max(1, PANEL_STEP_BYTES // tiles)
    while True:
        first, count = take(control, phase, panels, PARTS)
        if count == 0:
            break
        for panel in range(first, first + count):
            weights = matrix + panel * panel_bytes
            width = PANEL // 2 if after == GATE else PANEL
            for tile in range(tiles):
                begin, end = rows * tile // tiles, rows * (tile + 1) // tiles
                # While the tiles run, each fetches its part of the next panel; a single one what it reads soon.
                ahead = weights + (_FETCHED_AHEAD if tiles == 1 else panel_bytes + tile * steps * pace)
                start = inputs + begin * row_bytes
                multiply(kind, end - begin, start, row_bytes, weights, steps, scratch, ahead, pace)
                for row in range(begin, end):
                    place = out + row * stride + 4 * panel * width
                    trailer = inputs + (row + 1) * row_bytes - ROW_TRAILER
                    sums = scratch + (row - begin) * PANEL * 4
                    _conclude(kind, sums, trailer, scales, panel, bias, after, place)
        finish(control, phase, panels, count)
    wait_phase(control, phase)


@inlined
def _results(kind: Any, sums: int, trailer: int, scales: int) -> Lanes:
    """Sixteen sums as results."""
    if same_type(kind, INT8):
        return lanes.load_as(INT32, sums) * lanes.splat(read(FLOAT, trailer)) * lanes.load(scales)
    return lanes.load(sums)


@inlined
def _conclude(
    kind: Any, sums: int, trailer: int, scales: int, panel: int, bias: int, after: int, place: int
) -> None:
    one = _results(kind, sums, trailer, scales + panel * 4 * PANEL)
    two = _results(kind, sums + _LINE, trailer, scales + panel * 4 * PANEL + _LINE)
    if after == GATE:
        lanes.store(place, gated(one, two))
        return
    if after == ADD:
        one = one + lanes.load(place)
        two = two + lanes.load(place + _LINE)
    elif bias != 0:
        one = one + lanes.load(bias + panel * 4 * PANEL)
        two = two + lanes.load(bias + panel * 4 * PANEL + _LINE)
    lanes.store(place, one)
    lanes.store(place + _LINE, two)

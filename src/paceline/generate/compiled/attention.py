"""Attention of a tile of query rows to one head of keys and values, where they lie in their blocks.

64 tokens are taken at a time, from a position that is a multiple of 64: scores, new maximum, weights, weighted values
(what was summed before is scaled down when the maximum grows). A row's own arithmetic does not depend on the tile:
tokens it must not see get the weight 0 exactly, and adding 0 changes no bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.generate.compiled import lanes
from paceline.generate.compiled.attention_tiles import SCORE_BLOCKS, SCORE_ROWS, mix_16, mix_32, mix_64, score
from paceline.generate.compiled.crew import compiled, inlined
from paceline.generate.compiled.lanes import Lanes
from paceline.generate.compiled.rows import FLOAT, INT8, kv_size, power
from paceline.generate.compiled.words import index, read, same_type, write

TILE_QUERIES = 48
"""Query rows times heads of a group in a tile, about: what its state may take of the nearest cache."""
_BLOCK = 16
CHUNK = SCORE_BLOCKS * _BLOCK
"""Tokens taken at a time."""
_LINE = 64
_LOWEST = np.float32(-1e30)
"""Maximum of a row that has seen nothing: finite, so that hidden scores (-inf) weigh 0 and not NaN."""


def scratch_bytes(head_dim: int, group: int) -> int:
    """Room that a thread needs for a tile: queries, sums, maxima and lanes of weights, scores, addresses of blocks."""
    queries = max(TILE_QUERIES, group)
    return queries * (8 * head_dim + 2 * _LINE) + SCORE_ROWS * 4 * CHUNK + 2 * _LINE


@compiled
def attend(model: Any, step: Any, kind: Any, layer: int, tile: int, kv_head: int, scratch: int) -> None:
    """Attention of tile number `tile` to a head of keys and values, into the rows' places in `step.attention`."""
    dims = model.head_dim
    group = model.heads // model.kv_heads
    sequence = index(step.tile_table + 12 * tile)
    first_row = index(step.tile_table + 12 * tile + 4)
    rows = index(step.tile_table + 12 * tile + 8)
    first_position = index(step.row_positions + 4 * first_row)
    queries = rows * group

    blocks = scratch
    scores = blocks + _LINE
    asked = scores + SCORE_ROWS * 4 * CHUNK
    sums = asked + queries * 4 * dims
    weights = sums + queries * 4 * dims  # of each query: lanes of the sum of weights
    maxima = weights + queries * _LINE

    _ask(model, step, kv_head, first_row, rows, asked, sums)
    _forget(queries, weights, maxima)
    table = step.tables + 4 * sequence * step.table_width
    base = model.kv + (layer * model.blocks * model.kv_heads + kv_head) * model.kv_head_bytes
    pitch = model.kv_heads * model.kv_head_bytes
    last_position = first_position + rows - 1
    begin = max(0, first_position - model.window + 1) // CHUNK * CHUNK
    for start in range(begin, last_position + 1, CHUNK):
        tokens = min(CHUNK, last_position + 1 - start)
        for block in range(SCORE_BLOCKS):  # those behind the last one are scored and hidden
            number = index(table + 4 * (start // _BLOCK + min(block, (tokens - 1) // _BLOCK)))
            write(np.int64(0), blocks + 8 * block, base + number * pitch)
        # Rows that stand before this chunk see nothing of it.
        unseeing = max(0, start - first_position) * group // SCORE_ROWS * SCORE_ROWS
        for query in range(unseeing, queries, SCORE_ROWS):
            count = min(SCORE_ROWS, queries - query)
            score(kind, count, asked + query * 4 * dims, blocks, dims, scores)
            for at in range(count):
                own = query + at
                position = first_position + own // group
                _weigh(
                    kind,
                    scores + at * 4 * CHUNK,
                    blocks,
                    dims,
                    start,
                    position - model.window + 1,
                    position,
                    weights + own * _LINE,
                    maxima + 4 * own,
                    sums + own * 4 * dims,
                )
            _mix(kind, count, scores, blocks, tokens, dims, sums + query * 4 * dims)
    _answer(model, step, kv_head, first_row, rows, sums, weights)


@inlined
def _ask(model: Any, step: Any, kv_head: int, first_row: int, rows: int, asked: int, sums: int) -> None:
    """The queries of a group of heads side by side, scaled; sums of zeros."""
    width = model.heads // model.kv_heads * 4 * model.head_dim
    scale = lanes.splat(model.query_scale)
    for row in range(rows):
        source = step.wide + (first_row + row) * step.wide_stride + kv_head * width
        for at in range(0, width, _LINE):
            lanes.store(asked + row * width + at, lanes.load(source + at) * scale)
            lanes.store(sums + row * width + at, lanes.splat(np.float32(0.0)))


@inlined
def _forget(queries: int, weights: int, maxima: int) -> None:
    """What a query knows before the first chunk."""
    for query in range(queries):
        lanes.store(weights + query * _LINE, lanes.splat(np.float32(0.0)))
        write(FLOAT, maxima + 4 * query, _LOWEST)


@inlined
def _answer(model: Any, step: Any, kv_head: int, first_row: int, rows: int, sums: int, weights: int) -> None:
    """Sums divided by the sums of their weights, into the rows' places."""
    dims = model.head_dim
    group = model.heads // model.kv_heads
    for own in range(rows * group):
        target = step.attention + (first_row + own // group) * step.attention_stride
        target += (kv_head * group + own % group) * 4 * dims
        factor = lanes.splat(np.float32(1.0) / lanes.total(lanes.load(weights + own * _LINE)))
        for at in range(0, 4 * dims, _LINE):
            lanes.store(target + at, lanes.load(sums + own * 4 * dims + at) * factor)


@inlined
def _scale_of_tokens(blocks: int, block: int, dims: int, part: int) -> Lanes:
    """int8: the scales of the keys (part 0) or values (1) of a block's tokens."""
    return lanes.load(read(np.int64(0), blocks + 8 * block) + 2 * _BLOCK * dims + part * _LINE)


@inlined
def _weigh(
    kind: Any,
    scores: int,
    blocks: int,
    dims: int,
    start: int,
    first: int,
    last: int,
    weights: int,
    maximum: int,
    sums: int,
) -> None:
    """Turn a row's 64 scores into weights; scale down its sums if its maximum grew.

    `first` to `last` are the positions that it sees.
    """
    hidden = np.float32(-np.inf)
    one, two, three, four = (
        lanes.load(scores),
        lanes.load(scores + _LINE),
        lanes.load(scores + 2 * _LINE),
        lanes.load(scores + 3 * _LINE),
    )
    if same_type(kind, INT8):
        one = one * _scale_of_tokens(blocks, 0, dims, 0)
        two = two * _scale_of_tokens(blocks, 1, dims, 0)
        three = three * _scale_of_tokens(blocks, 2, dims, 0)
        four = four * _scale_of_tokens(blocks, 3, dims, 0)
    if start < first or start + CHUNK - 1 > last:
        one = lanes.between(one, first, last, start, hidden)
        two = lanes.between(two, first, last, start + _BLOCK, hidden)
        three = lanes.between(three, first, last, start + 2 * _BLOCK, hidden)
        four = lanes.between(four, first, last, start + 3 * _BLOCK, hidden)
    before = read(FLOAT, maximum)
    most = lanes.largest(lanes.larger(lanes.larger(one, two), lanes.larger(three, four)))
    if most > before:
        write(FLOAT, maximum, most)
        shrink = power(lanes.splat(before - most))
        lanes.store(weights, lanes.load(weights) * shrink)
        for at in range(0, 4 * dims, _LINE):
            lanes.store(sums + at, lanes.load(sums + at) * shrink)
    else:
        most = before
    top = lanes.splat(most)
    one, two, three, four = power(one - top), power(two - top), power(three - top), power(four - top)
    lanes.store(weights, lanes.load(weights) + ((one + two) + (three + four)))
    if same_type(kind, INT8):
        one = one * _scale_of_tokens(blocks, 0, dims, 1)
        two = two * _scale_of_tokens(blocks, 1, dims, 1)
        three = three * _scale_of_tokens(blocks, 2, dims, 1)
        four = four * _scale_of_tokens(blocks, 3, dims, 1)
    lanes.store(scores, one)
    lanes.store(scores + _LINE, two)
    lanes.store(scores + 2 * _LINE, three)
    lanes.store(scores + 3 * _LINE, four)


@inlined
def _mix(kind: Any, rows: int, weights: int, blocks: int, tokens: int, dims: int, sums: int) -> None:
    """Add the values of the chunk's tokens, weighted, to the sums of the rows."""
    # The values of a block lie behind its keys.
    skip = _BLOCK * dims * kv_size(kind)
    for block in range(SCORE_BLOCKS):
        place = blocks + 8 * block
        write(np.int64(0), place, read(np.int64(0), place) + skip)
    offset = 0
    while dims - offset >= 64:
        mix_64(kind, rows, weights, blocks, tokens, dims, offset, sums)
        offset += 64
    if dims - offset >= 32:
        mix_32(kind, rows, weights, blocks, tokens, dims, offset, sums)
        offset += 32
    if dims - offset >= 16:
        mix_16(kind, rows, weights, blocks, tokens, dims, offset, sums)
    for block in range(SCORE_BLOCKS):
        place = blocks + 8 * block
        write(np.int64(0), place, read(np.int64(0), place) - skip)

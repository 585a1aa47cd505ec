"""Fields of the int64 records by which compiled functions are told where things lie and what is wanted."""

from __future__ import annotations

from typing import Final

FP32, FP16, BF16, INT8, BINARY = range(5)
"""KIND of a side."""
KIND, BLOCKS, DIMENSIONS, ROWS, STRIDE, FACTORS, SCALED, SHIFTED, SQUARED, UNIT, OFFSET, STEP = range(12)
"""A side: encoded rows. BLOCKS: of 64 elements. FACTORS: place in a row of its float32 factors, first the one that
scales (if SCALED), then the one that is added (if SHIFTED). SQUARED: the score is minus the squared distance. UNIT:
queries are normalised. OFFSET and STEP: addresses of a float32 for each dimension."""
SIDE: Final = 12

BASE, WIDTH, UPPER, UPPER_WIDTH, UPPER_AT, ENTRY, LEVELS, LIMIT = range(8)
"""A graph: addresses of int32 arrays (BASE, UPPER, UPPER_AT), their widths, the row to start from. Rows from LIMIT on are
not there, whoever names them: a graph that grows has them for later readers."""
GRAPH: Final = 8

LEVEL_OF, SHIFTS, LOCKS, NEAR, NEAR_POOL = range(5)
"""A growth: addresses of each row's int32 levels above the base, of its float32 shift (`pairs`), of an int32 lock for each
row, and of working memory for lists and pools of neighbours."""
GROWTH: Final = 5

EF, ROOM, NEED, FINAL, TOP, ALLOW, DENY, LEAST, REACH, TOUCHED, VISITED, POOL, ORDERS, CODE, EXACT_CODE = (
    range(15)
)
"""A request: how far to go (EF, ROOM, NEED, LEAST, REACH: `walk`), FINAL candidates to re-score (0: none), TOP results;
addresses of the bitmaps of allowed and of deleted rows (0: none) and of the working memory (`memory.py`)."""
WISHES: Final = 9
"""Fields of a request that say what is wanted, from step to step: the first."""
REACH_UNIT: Final = 1 << 16
"""REACH counts parts of this size."""
HELD, CURSOR, FOUND, FRESH, MET, ROW, LEVEL, BEST, STAGE, JOB = range(15, 25)
"""A walk under way, in its request: keys in the pool, how many at its head are expanded and how many of these may be
returned; rows in the list of those met and the first not yet scored; on the levels above the row and its order; what comes
next, and of which query or step the walk is (`turns`)."""
REQUEST: Final = 25

GRAPH_AT, SIDES_AT, QUERIES_AT, LISTED, FIRST, COUNT = range(WISHES, WISHES + 6)
"""A step of a search, after its wishes: addresses of its graph (0: it is a scan), of its two sides and of the queries as
its codes want them (0: as they are); of a scan the address of the rows listed, or the first row, and how many."""
STEP_FIELDS: Final = WISHES + 6

ALPHA, BETA, LIFT = range(3)
"""Numbers of a prepared query (float32): score = ALPHA * order + BETA; LIFT is the sum of its bytes."""
STATE: Final = 3

BLOCK: Final = 64
"""Elements in a block: one 512-bit register of bytes. Rows and queries are whole blocks."""
MIDDLE: Final = 128
"""int8 codes are counted from here, so that the query's rounding does not shift the score."""
MOST_ROWS: Final = 1 << 30
"""Rows that a key of the pool can name."""

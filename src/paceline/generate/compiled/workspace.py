"""Room for a step: the batch where the workers find it, and rows to work in. It grows and never shrinks."""

from __future__ import annotations

import numpy as np

from paceline.generate.batch import Batch
from paceline.generate.compiled.attention import TILE_QUERIES, scratch_bytes
from paceline.generate.compiled.layout import STEP, aligned, lines
from paceline.generate.compiled.products import TILE_BYTES
from paceline.generate.compiled.shapes import Shapes
from paceline.generate.compiled.tiles import PANEL, ROW_TRAILER


class Workspace:
    """The `STEP` record and what it points to.

    A worker that is late reads the record of a later step, never memory that is gone: it follows an address only while
    it holds an item of the step that the record describes.
    """

    def __init__(self, shapes: Shapes, *, vocabulary: int, input_number_bytes: int, threads: int) -> None:
        self.step = np.zeros(1, STEP)
        self._shapes = shapes
        self._logit_columns = -(-vocabulary // PANEL) * PANEL
        self._input_number_bytes = input_number_bytes
        self._held: dict[str, np.ndarray] = {}
        self._rows = 0
        group = shapes.heads // shapes.kv_heads
        self._tile_rows = max(1, TILE_QUERIES // group)
        self._set("tile_rows", self._tile_rows)
        scratch = lines(
            max(
                scratch_bytes(shapes.head_dim, group),
                TILE_BYTES,
                4 * shapes.hidden,
                4 * shapes.head_dim,
            )
        )
        # Two lines between the threads' parts: the processor fetches lines in pairs.
        self._set("scratch_stride", scratch + 128)
        self._place("scratch", (scratch + 128) * threads)

    @property
    def nbytes(self) -> int:
        """Held now."""
        return sum(array.nbytes for array in self._held.values())

    def fill(self, batch: Batch) -> np.ndarray:
        """Describe the step of `batch`; returns where its logits (wanted, vocabulary filled) will be."""
        rows, wanted = len(batch.tokens), len(batch.wanted)
        self._room_for(rows)
        self._copy("row_tokens", batch.tokens)
        self._copy("row_positions", batch.positions)
        self._copy("wanted_rows", batch.wanted)
        self._copy("tables", batch.tables.reshape(-1))
        self._copy("row_starts", batch.starts)
        sequences = len(batch.contexts)
        self._place("row_slots", 4 * rows)
        self._place("tile_table", 12 * (sequences + rows // self._tile_rows))
        for name, value in (
            ("rows", rows),
            ("wanted", wanted),
            ("sequences", sequences),
            ("table_width", batch.tables.shape[1]),
            ("logits_stride", 4 * self._logit_columns),
        ):
            self._set(name, value)
        logits = self._place("logits", 4 * wanted * self._logit_columns)
        shape = (wanted, self._logit_columns)
        return logits[: 4 * wanted * self._logit_columns].view(np.float32).reshape(shape)

    def _room_for(self, rows: int) -> None:
        if rows <= self._rows:
            return
        self._rows = max(rows, min(2 * self._rows, 512))
        shapes = self._shapes
        longest = max(shapes.hidden, shapes.attended, shapes.inner)
        # What a panel writes may be wider than a row: whole panels.
        widths = {
            "residual": -(-shapes.hidden // PANEL) * PANEL,
            "wide": -(-max(shapes.fused, shapes.inner) // PANEL) * PANEL,
            "attention": shapes.attended,
        }
        for name, width in widths.items():
            # An odd number of lines: rows a power of two apart compete for the same lines of the cache.
            stride = lines(4 * width) + 64
            self._set(f"{name}_stride", stride)
            self._place(name, stride * self._rows)
        self._place("inputs", (longest * self._input_number_bytes + ROW_TRAILER) * self._rows)

    def _place(self, name: str, count: int) -> np.ndarray:
        held = self._held.get(name)
        if held is None or len(held) < count:
            held = self._held[name] = aligned(max(count, 64))
            self._set(name, held.ctypes.data)
        return held

    def _copy(self, name: str, numbers: np.ndarray) -> None:
        self._place(name, 4 * len(numbers))[: 4 * len(numbers)].view(np.int32)[:] = numbers

    def _set(self, name: str, value: int) -> None:
        self.step[name] = value

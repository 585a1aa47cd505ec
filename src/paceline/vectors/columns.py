"""The metadata of a segment's rows, field by field, and which rows pass a filter: `Columns.mask`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, reduce
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.vectors.bitmap import Bitmap, bitmap_of
from paceline.vectors.column import Array, Column
from paceline.vectors.courtesy import courteously
from paceline.vectors.filter_nodes import Every, Node, Some, Test, Without
from paceline.vectors.filters import Filter
from paceline.vectors.metadata import Kind, Types, kind_of

_MASKS_KEPT_BYTES: Final = 4 << 20
"""Of bitmaps of the filters asked last: 300 of a segment of 100,000 rows. The last one is kept in any case."""


class _Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the arrays are of: written as JSON beside them."""

    rows: int
    columns: list[tuple[str, Kind]]


class Columns:
    """Metadata of `count` rows; immutable, safe for any number of threads. The arrays may be memory maps."""

    def __init__(self, count: int, columns: Sequence[Column]) -> None:
        self.count = count
        self._columns = tuple(columns)
        self._of_field: dict[str, list[Column]] = {}
        for column in columns:
            self._of_field.setdefault(column.field, []).append(column)
        self._masks: OrderedDict[bytes, Bitmap] = OrderedDict()
        self._masks_most = max(1, _MASKS_KEPT_BYTES // max(1, count // 8))
        self._lock = threading.Lock()  # of `_masks`

    @classmethod
    def build(cls, rows: Iterable[Mapping[str, Any] | None]) -> Self:
        """Of the checked metadata (`checked_metadata`) of each row."""
        found: dict[tuple[str, Kind], tuple[list[int], list[Any]]] = {}
        count = 0
        for row, metadata in enumerate(courteously(rows)):
            count = row + 1
            for field, value in (metadata or {}).items():
                kind = kind_of(value)
                assert kind is not None, f"{field!r} of row {row} was not checked"
                where, values = found.setdefault((field, kind), ([], []))
                where.append(row)
                values.append(value)
        return cls(count, [Column.build(field, kind, *held, count) for (field, kind), held in found.items()])

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """The columns whose `arrays` were kept."""
        shape = msgspec.json.decode(arrays["shape"].tobytes(), type=_Shape)
        named: list[dict[str, Array]] = [{} for _ in shape.columns]
        for name, array in arrays.items():
            number, _, part = name.partition(".")
            if part:
                named[int(number)][part] = array
        return cls(
            shape.rows,
            [Column.from_arrays(field, kind, named[i]) for i, (field, kind) in enumerate(shape.columns)],
        )

    def arrays(self) -> dict[str, Array]:
        """What `from_arrays` needs, by name: letters, digits and dots."""
        shape = _Shape(self.count, [(column.field, column.kind) for column in self._columns])
        kept: dict[str, Array] = {"shape": np.frombuffer(msgspec.json.encode(shape), np.uint8)}
        for number, column in enumerate(self._columns):
            kept |= {f"{number}.{part}": array for part, array in column.arrays().items()}
        return kept

    def __len__(self) -> int:
        return self.count

    @cached_property
    def types(self) -> Types:
        """The kinds of each field."""
        return {field: {column.kind for column in columns} for field, columns in self._of_field.items()}

    def row(self, row: int) -> dict[str, Any]:
        """The metadata of one row."""
        held = ((column.field, column.value(row)) for column in self._columns)
        return {field: value for field, value in held if value is not None}

    def mask(self, wanted: Filter) -> Bitmap:
        """The rows that pass; the array is shared and read-only.

        Fields that no row here has are no error (another segment's may): see `Filter.check`.
        """
        with self._lock:
            known = self._masks.get(wanted.key)
            if known is not None:
                self._masks.move_to_end(wanted.key)
                return known
        made = self._bitmap(wanted.root)
        made.flags.writeable = False
        with self._lock:
            self._masks[wanted.key] = made
            while len(self._masks) > self._masks_most:
                self._masks.popitem(last=False)
        return made

    @cached_property
    def _all(self) -> Bitmap:
        return bitmap_of(np.ones(self.count, np.bool_))

    def _bitmap(self, node: Node) -> Bitmap:
        match node:
            case Every(parts):
                return reduce(np.bitwise_and, map(self._bitmap, parts))
            case Some(parts):
                return reduce(np.bitwise_or, map(self._bitmap, parts))
            case Without(part):
                return self._all & ~self._bitmap(part)
            case Test():
                passed = bitmap_of(self._mask(node))
                return self._all & ~passed if node.negated else passed

    def _mask(self, test: Test) -> NDArray[np.bool_]:
        columns = self._of_field.get(test.field, [])
        masks = [column.mask(test, self.count) for column in columns]
        return reduce(np.logical_or, masks) if masks else np.zeros(self.count, np.bool_)

"""One field's values of one kind, over the rows of a segment that have it.

bool      uint8, 0 or 1
int       the smallest signed integers that hold all values
float     float64
string    codes of a sorted dictionary (`words.py`), the smallest unsigned integers that hold them
strings   such codes, of all rows one after another, and where each row's end
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.vectors.filter_nodes import RANGES, Scalar, Test
from paceline.vectors.metadata import Kind
from paceline.vectors.words import Words

Mask = NDArray[np.bool_]
Array = NDArray[Any]

_WHOLE: Final = (np.int8, np.int16, np.int32, np.int64)
_COMPARED_SINGLY: Final = 8
"""Values of an `$in` up to which each is compared; more are looked up in a table."""


class Column(msgspec.Struct, frozen=True, eq=False, dict=True):
    """Values in the order of rows; a field with values of two kinds has two columns."""

    field: str
    kind: Kind
    rows: NDArray[np.int32] | None
    """The rows that have a value, rising; None for all."""
    values: Array
    words: Words | None = None
    """string and strings only."""
    ends: NDArray[np.int64] | None = None
    """strings only: (rows that have a value,)."""

    @classmethod
    def build(cls, field: str, kind: Kind, rows: Sequence[int], values: Sequence[Any], count: int) -> Self:
        """Of the values that `rows` out of `count` have."""
        where = None if len(rows) == count else np.array(rows, np.int32)
        match kind:
            case "bool":
                return cls(field, kind, where, np.array(values, np.uint8))
            case "int":
                whole = np.array(values, np.int64)
                low, high = int(whole.min()), int(whole.max())
                small = next(
                    size for size in _WHOLE if np.iinfo(size).min <= low and high <= np.iinfo(size).max
                )
                return cls(field, kind, where, whole.astype(small))
            case "float":
                return cls(field, kind, where, np.array(values, np.float64))
            case "string":
                words, codes = _coded(values)
                return cls(field, kind, where, codes, words)
            case "strings":
                words, codes = _coded([item for items in values for item in items])
                lengths = np.fromiter((len(items) for items in values), np.int64, len(values))
                return cls(field, kind, where, codes, words, np.cumsum(lengths))

    @classmethod
    def from_arrays(cls, field: str, kind: Kind, arrays: Mapping[str, Array]) -> Self:
        """The column whose `arrays` were kept."""
        words = Words(arrays["text"], arrays["text_ends"]) if "text" in arrays else None
        return cls(field, kind, arrays.get("rows"), arrays["values"], words, arrays.get("ends"))

    def arrays(self) -> dict[str, Array]:
        """What `from_arrays` needs."""
        named = {"rows": self.rows, "values": self.values, "ends": self.ends}
        if self.words is not None:
            named |= {"text": self.words.text, "text_ends": self.words.ends}
        return {name: array for name, array in named.items() if array is not None}

    def value(self, row: int) -> Any:
        """The value of a row; None if it has none of this kind."""
        at = row
        if self.rows is not None:
            at = int(np.searchsorted(self.rows, row))
            if at == len(self.rows) or self.rows[at] != row:
                return None
        match self.kind:
            case "bool":
                return bool(self.values[at])
            case "string":
                assert self.words is not None
                return self.words[int(self.values[at])]
            case "strings":
                assert self.words is not None
                assert self.ends is not None
                start = int(self.ends[at - 1]) if at else 0
                return [self.words[int(code)] for code in self.values[start : int(self.ends[at])]]
            case _:
                return self.values[at].item()

    def mask(self, test: Test, count: int) -> Mask:
        """Of `count` rows, those whose value here passes the test, before it is negated."""
        mask = np.zeros(count, np.bool_)
        mask[slice(None) if self.rows is None else self.rows] = (
            True if test.op == "$exists" else self._hits(test)
        )
        return mask

    def _hits(self, test: Test) -> Mask | bool:
        """Which of the rows that have a value pass; a single truth for all."""
        match self.kind:
            case "bool":
                asked = {value for value in test.values if isinstance(value, bool)}
                return False if test.op in RANGES else self._any_of(self.values, [int(one) for one in asked])
            case "string":
                texts = [value for value in test.values if isinstance(value, str)]
                return self._between(test.op, texts) if test.op in RANGES else self._coded_as(texts)
            case "strings":
                if test.op in RANGES:
                    return False
                hits = np.zeros(len(self._owners_end), np.bool_)
                hits[self._owners[self._coded_as([one for one in test.values if isinstance(one, str)])]] = (
                    True
                )
                return hits
            case _:
                return self._numbers(test)

    @property
    def _owners_end(self) -> NDArray[np.int64]:
        assert self.ends is not None
        return self.ends

    @cached_property
    def _owners(self) -> NDArray[np.int32]:
        """strings: to which of the rows that have a value each code belongs."""
        lengths = np.diff(self._owners_end, prepend=0)
        return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)

    def _coded_as(self, texts: Sequence[str]) -> Mask:
        """Which codes are those of the texts."""
        assert self.words is not None
        found = [code for text in set(texts) if (code := self.words.find(text)) >= 0]
        if len(found) <= _COMPARED_SINGLY:
            return self._any_of(self.values, found)
        table = np.zeros(len(self.words), np.bool_)
        table[found] = True
        hits: Mask = table[self.values]
        return hits

    def _between(self, op: str, texts: Sequence[str]) -> Mask | bool:
        """Which codes are on the right side of the text: the dictionary is sorted."""
        if not texts:
            return False
        assert self.words is not None
        less = self.words.before(texts[0], or_equal=op in {"$gt", "$lte"})
        if less == 0:
            return op in {"$gt", "$gte"}
        hits: Mask = self.values >= less if op in {"$gt", "$gte"} else self.values < less
        return hits

    def _numbers(self, test: Test) -> Mask | bool:
        numbers = [one for one in test.values if isinstance(one, int | float) and not isinstance(one, bool)]
        if test.op in RANGES:
            return self._side(test.op, numbers[0]) if numbers else False
        same = {one for number in numbers if (one := self._held(number)) is not None}
        if len(same) <= _COMPARED_SINGLY:
            return self._any_of(self.values, list(same))
        hits: Mask = np.isin(self.values, np.array(list(same), self.values.dtype))
        return hits

    def _side(self, op: str, bound: float) -> Mask | bool:
        """Which numbers are on the right side of the bound, exactly, as Python compares whole with other numbers."""
        if self.kind == "int":
            # x > b is x >= floor(b) + 1, x >= b is x >= ceil(b); the others are what these leave over.
            least = math.floor(bound) + 1 if op in {"$gt", "$lte"} else math.ceil(bound)
            limits = np.iinfo(self.values.dtype)
            if not limits.min < least <= limits.max:
                return (least <= limits.min) == (op in {"$gt", "$gte"})
            hits: Mask = self.values >= least if op in {"$gt", "$gte"} else self.values < least
            return hits
        near = float(bound)  # exactly it, or the float next to it: then no float lies between the two
        above = op in {"$gt", "$gte"}
        if near > bound:
            op = "$gte" if above else "$lt"
        elif near < bound:
            op = "$gt" if above else "$lte"
        compared: Mask = RANGES[op](self.values, near)
        return compared

    def _held(self, number: float) -> int | float | None:
        """The number as this column holds it; None if it cannot."""
        if self.kind == "float":
            return float(number) if float(number) == number else None
        limits = np.iinfo(self.values.dtype)
        return int(number) if number == int(number) and limits.min <= number <= limits.max else None

    @staticmethod
    def _any_of(values: Array, wanted: Sequence[Scalar]) -> Mask:
        """Which values are one of a few."""
        hits = np.zeros(len(values), np.bool_)
        for one in wanted:
            hits |= values == one
        return hits


def _coded(texts: Sequence[str]) -> tuple[Words, Array]:
    """A dictionary of the texts, and their codes."""
    words = Words.of(texts)
    code_of = words.codes()
    codes = np.fromiter((code_of[text] for text in texts), np.int64, len(texts))
    return words, codes.astype(np.min_scalar_type(max(0, len(words) - 1)))

"""What a filter is made of: tests of one field, and `Every`, `Some`, `Without` over others.

`matches` says what each means for one record; `columns.py` does the same for all rows of a segment at once, and is
tested against it. A test of a field that a record lacks, or has with another kind of value, does not match; `$ne` and
`$nin` are the opposites of `$eq` and `$in`, so they match such records, as in MongoDB.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, get_args

import msgspec

Operator = Literal["$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$exists"]
Scalar = bool | int | float | str

OPERATORS: Final = get_args(Operator)
RANGES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


class Test(msgspec.Struct, frozen=True):
    """One field against a value, or, for `$in` and `$nin`, values. `$exists` has true or false."""

    field: str
    op: Operator
    value: Scalar | tuple[Scalar, ...]
    path: str
    """Where it stands in the request, for errors."""

    @property
    def negated(self) -> bool:
        """Whether it matches what its opposite (`$eq`, `$in`, present) does not."""
        return self.op in {"$ne", "$nin"} or (self.op == "$exists" and not self.value)

    @property
    def values(self) -> tuple[Scalar, ...]:
        """The value, or the values of a list."""
        return self.value if isinstance(self.value, tuple) else (self.value,)


class Every(msgspec.Struct, frozen=True):
    """All of its parts match."""

    parts: tuple[Node, ...]


class Some(msgspec.Struct, frozen=True):
    """At least one of its parts matches."""

    parts: tuple[Node, ...]


class Without(msgspec.Struct, frozen=True):
    """Its part does not match."""

    part: Node


Node = Test | Every | Some | Without


def matches(node: Node, metadata: Mapping[str, Any]) -> bool:
    """Whether a record with this metadata passes."""
    match node:
        case Every(parts):
            return all(matches(part, metadata) for part in parts)
        case Some(parts):
            return any(matches(part, metadata) for part in parts)
        case Without(part):
            return not matches(part, metadata)
        case Test():
            return _passes(node, metadata) != node.negated


def tests_of(node: Node) -> Iterator[Test]:
    """All tests below a node."""
    match node:
        case Every(parts) | Some(parts):
            for part in parts:
                yield from tests_of(part)
        case Without(part):
            yield from tests_of(part)
        case Test():
            yield node


def _passes(test: Test, metadata: Mapping[str, Any]) -> bool:
    """Whether the test holds, before it is negated."""
    if test.op == "$exists" or test.field not in metadata:
        return test.field in metadata
    held = metadata[test.field]
    if (compare := RANGES.get(test.op)) is not None:
        return _comparable(held, test.value) and bool(compare(held, test.value))
    choices = held if isinstance(held, list | tuple) else (held,)
    return any(_comparable(one, value) and one == value for one in choices for value in test.values)


def _comparable(held: Any, value: Any) -> bool:
    """Texts with texts, numbers with numbers, truth with truth: 1 is not true."""
    for kind in (bool, str):
        if isinstance(held, kind) or isinstance(value, kind):
            return isinstance(held, kind) and isinstance(value, kind)
    return isinstance(held, int | float) and isinstance(value, int | float)

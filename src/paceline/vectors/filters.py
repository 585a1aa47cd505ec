"""Filters on metadata in Pinecone's JSON: `{"year": {"$gte": 1990}, "genre": {"$in": ["drama", "comedy"]}}`.

A field with a bare value means equality; several fields or operators mean all of them. `$and` and `$or` take a list of
filters, `$not` takes one, or, under a field, operators. On a field that holds a list of texts, `$eq` and `$in` ask
whether one of them is equal.
"""

from __future__ import annotations

import difflib
import marshal
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, cast

import msgspec
import orjson

from paceline.base.errors import InvalidRequest
from paceline.vectors.filter_nodes import (
    OPERATORS,
    RANGES,
    Every,
    Node,
    Operator,
    Some,
    Test,
    Without,
    matches,
    tests_of,
)
from paceline.vectors.metadata import Kind, Types, kind_of, shown

MOST_TESTS: Final = 1000
MOST_VALUES: Final = 10_000
"""In all lists of a filter together."""
DEEPEST: Final = 32
_FIELDS_SHOWN: Final = 12
_KEPT: Final = 128
_LARGEST_KEPT: Final = 4096
"""Bytes of a filter, packed."""
_PACKING: Final = 2
"""The last version of `marshal` in which equal objects are equal bytes: later ones write a second use as a reference."""
_COMPARED_WITH: Final[dict[Kind, frozenset[Kind]]] = {
    "bool": frozenset({"bool"}),
    "int": frozenset({"int", "float"}),
    "float": frozenset({"int", "float"}),
    "string": frozenset({"string", "strings"}),
}
"""Kinds of a field that a value of this kind can be equal to."""


class Filter(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A checked filter. `key` names it: equal keys, equal meaning."""

    root: Node
    key: bytes

    @classmethod
    def parse(cls, obj: Any, param: str = "filter") -> Filter:
        """The filter of a JSON object. InvalidRequest names the place (`filter.year.$gt`) and what is allowed there."""
        root = _filter(obj, param, 0)
        tests = list(tests_of(root))
        if len(tests) > MOST_TESTS or sum(len(test.values) for test in tests) > MOST_VALUES:
            raise InvalidRequest(
                f"the filter has {len(tests)} conditions; {MOST_TESTS} with {MOST_VALUES} values are allowed",
                param=param,
            )
        return cls(
            root, orjson.dumps(obj, default=dict, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)
        )

    @cached_property
    def fields(self) -> frozenset[str]:
        """Fields that it looks at."""
        return frozenset(test.field for test in tests_of(self.root))

    def matches(self, metadata: Mapping[str, Any] | None) -> bool:
        """Whether a record with this metadata passes: the plain twin of `Columns.mask`."""
        return matches(self.root, metadata or {})

    def check(self, types: Types) -> None:
        """InvalidRequest if no record has a field of the filter, or none has it with a value of the kind compared."""
        for test in tests_of(self.root):
            if test.field not in types:
                raise InvalidRequest(
                    f"no record has the field {test.field!r}; {_known(test.field, types)}", param=test.path
                )
            if test.op == "$exists":
                continue
            for value in test.values:
                kind = kind_of(value)
                assert kind is not None
                wanted = _COMPARED_WITH[kind] - ({"strings"} if test.op in RANGES else set())
                if not wanted & types[test.field]:
                    raise InvalidRequest(
                        f"{test.field!r} {test.op} {shown(value)} never matches: the value is of kind {kind}, the "
                        f"field of {' and '.join(sorted(types[test.field]))}; compare it with a value of its kind",
                        param=test.path,
                    )


class CheckedFilters:
    """Filters as callers write them, checked against the fields there are; the last ones are kept, as most come again.

    Safe for any number of threads.
    """

    def __init__(self, types: Types) -> None:
        self.types = types
        self._kept: OrderedDict[bytes, Filter] = OrderedDict()
        self._lock = threading.Lock()  # of `_kept`

    def of(self, wanted: Any) -> Filter:
        """The filter of a JSON object. InvalidRequest as of `Filter.parse` and `Filter.check`."""
        try:
            packed = marshal.dumps(wanted, _PACKING)
        except ValueError:  # not of Python's own types, which alone it takes: a Mapping, say, or a mistake
            return self._checked(wanted)
        with self._lock:
            known = self._kept.get(packed)
            if known is not None:
                self._kept.move_to_end(packed)
                return known
        made = self._checked(wanted)
        if len(packed) <= _LARGEST_KEPT:
            with self._lock:
                self._kept[packed] = made
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return made

    def _checked(self, wanted: Any) -> Filter:
        parsed = Filter.parse(wanted)
        parsed.check(self.types)
        return parsed


def _known(field: str, types: Types) -> str:
    """What there is instead of `field`."""
    if not types:
        return "no record has metadata yet"
    near = difflib.get_close_matches(field, types, n=1)
    listed = sorted(types)
    more = f" and {len(listed) - _FIELDS_SHOWN} more" if len(listed) > _FIELDS_SHOWN else ""
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"{meant}known are {', '.join(listed[:_FIELDS_SHOWN])}{more}"


def _filter(obj: Any, path: str, depth: int) -> Node:
    if depth > DEEPEST:
        raise InvalidRequest(f"the filter is nested deeper than {DEEPEST}; write it flatter", param=path)
    if not isinstance(obj, Mapping) or not obj:
        raise InvalidRequest(
            f'a filter is {shown(obj)}; send an object with a condition, such as {{"year": {{"$gte": 1990}}}}',
            param=path,
        )
    return _every([_entry(key, value, path, depth) for key, value in obj.items()])


def _entry(key: Any, value: Any, path: str, depth: int) -> Node:
    """One key of a filter and what it has."""
    here = f"{path}.{key}"
    match key:
        case "$and" | "$or":
            if not isinstance(value, list | tuple) or not value:
                raise InvalidRequest(f"{key} has {shown(value)}; give it a list of filters", param=here)
            parts = [_filter(part, f"{here}[{i}]", depth + 1) for i, part in enumerate(value)]
            return _every(parts) if key == "$and" else Some(tuple(parts))
        case "$not":
            return Without(_filter(value, here, depth + 1))
        case str() if key and not key.startswith("$"):
            return _field(key, value, here, depth)
        case _:
            raise InvalidRequest(
                f"{shown(key)} is neither a field nor $and, $or or $not; operators stand under a field",
                param=here,
            )


def _field(field: str, conditions: Any, path: str, depth: int) -> Node:
    """What stands under a field: operators, or a value that it equals."""
    if depth > DEEPEST:
        raise InvalidRequest(f"the filter is nested deeper than {DEEPEST}; write it flatter", param=path)
    if not isinstance(conditions, Mapping):
        return _test(field, "$eq", conditions, path)
    if not conditions:
        raise InvalidRequest(f"{field!r} has no condition; use one of {', '.join(OPERATORS)}", param=path)
    parts: list[Node] = []
    for op, value in conditions.items():
        here = f"{path}.{op}"
        if op == "$not":
            parts.append(Without(_field(field, value, here, depth + 1)))
        elif op in OPERATORS:
            parts.append(_test(field, op, value, here))
        else:
            raise InvalidRequest(
                f"{field!r} has the operator {shown(op)}; use one of {', '.join(OPERATORS)} or $not",
                param=here,
            )
    return _every(parts)


def _test(field: str, op: str, value: Any, path: str) -> Test:
    if op == "$exists":
        if not isinstance(value, bool):
            raise InvalidRequest(f"{field!r} $exists has {shown(value)}; use true or false", param=path)
        return Test(field, "$exists", value, path)
    if op in {"$in", "$nin"}:
        if not isinstance(value, list | tuple):
            raise InvalidRequest(f"{field!r} {op} has {shown(value)}; give it a list of values", param=path)
        for one in value:
            _checked(field, op, one, path)
        return Test(field, cast("Operator", op), tuple(value), path)
    if isinstance(value, list | tuple):
        raise InvalidRequest(f"{field!r} {op} has a list; use $in for one of several values", param=path)
    _checked(field, op, value, path)
    if op in RANGES and isinstance(value, bool):
        raise InvalidRequest(
            f"{field!r} {op} has {shown(value)}; compare with a number or a text", param=path
        )
    return Test(field, cast("Operator", op), value, path)


def _checked(field: str, op: str, value: Any, path: str) -> None:
    """What no record can hold, or what has no order, is a mistake."""
    if kind_of(value) in {None, "strings"}:
        raise InvalidRequest(
            f"{field!r} {op} has {shown(value)}; compare with a text, a finite number (whole ones of 64 bits), "
            "true or false",
            param=path,
        )


def _every(parts: list[Node]) -> Node:
    return parts[0] if len(parts) == 1 else Every(tuple(parts))

"""Our filters as Qdrant's: conditions on `metadata.FIELD` of the payload.

Qdrant's `match` tells 3 from 3.0 and `range` does not, so numbers are compared by ranges. It has no order of texts, and
takes a field that holds an empty list for one that is not there.
"""

from __future__ import annotations

from typing import Any, Final

from paceline.base.errors import InvalidRequest
from paceline.vectors.filter_nodes import RANGES, Every, Node, Scalar, Some, Test, Without

Condition = dict[str, Any]

NOTHING: Final[Condition] = {"has_id": []}
_EXACT: Final = 1 << 53
"""Whole numbers up to here are float64, which ranges are compared in."""


def condition_of(node: Node) -> Condition:
    """What a checked filter means in Qdrant. InvalidRequest on what it has no words for."""
    match node:
        case Every(parts):
            return {"must": [condition_of(part) for part in parts]}
        case Some(parts):
            return {"should": [condition_of(part) for part in parts]}
        case Without(part):
            return {"must_not": [condition_of(part)]}
        case Test():
            passes = _passes(node)
            return {"must_not": [passes]} if node.negated else passes


def path_of(field: str, param: str = "filter") -> str:
    """Where a field of the metadata is in the payload. InvalidRequest on a name that no path of Qdrant's can hold."""
    if '"' in field:
        raise InvalidRequest(
            f'Qdrant cannot address the field {field!r}: its paths quote with "; name it without one',
            param=param,
        )
    return f'metadata."{field}"'


def _passes(test: Test) -> Condition:
    """The test before it is negated."""
    path = path_of(test.field, test.path)
    if test.op == "$exists":
        return {"must_not": [{"is_empty": {"key": path}}]}
    if test.op in RANGES:
        return _range(test, path)
    texts = [value for value in test.values if isinstance(value, str)]
    choices = [_equal(path, value, test.path) for value in test.values if not isinstance(value, str)]
    if texts:
        choices.append({"key": path, "match": {"any": texts} if len(texts) > 1 else {"value": texts[0]}})
    if not choices:
        return NOTHING
    return choices[0] if len(choices) == 1 else {"should": choices}


def _range(test: Test, path: str) -> Condition:
    value = test.value
    if isinstance(value, str):
        raise InvalidRequest(
            f"{test.field!r} {test.op} {value!r}: Qdrant has no order of texts; keep a number to compare",
            param=test.path,
        )
    if isinstance(value, int) and abs(value) > _EXACT:
        raise InvalidRequest(
            f"{test.field!r} {test.op} {value}: Qdrant compares numbers as float64; {_EXACT} is the largest",
            param=test.path,
        )
    return {"key": path, "range": {test.op[1:]: value}}


def _equal(path: str, value: Scalar, param: str) -> Condition:
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) > _EXACT):
        return {"key": path, "match": {"value": value}}
    assert not isinstance(value, str), param
    return {"key": path, "range": {"gte": value, "lte": value}}

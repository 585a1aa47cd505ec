"""Our filters as SQL on the jsonb column `metadata`: every name and value is a parameter.

Equality is containment (`@>`), which a GIN index of jsonb_path_ops answers; it takes 3 and 3.0 as equal and tells 1
from true, as ours does. No test is NULL, so that negation means the opposite.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from psycopg.sql import SQL, Composable, Composed

from paceline.base.errors import InvalidRequest
from paceline.vectors.filter_nodes import RANGES, Every, Node, Scalar, Some, Test, Without

_OPERATORS: Final = {"$gt": SQL(">"), "$gte": SQL(">="), "$lt": SQL("<"), "$lte": SQL("<=")}


def condition_of(node: Node) -> tuple[Composable, list[Any]]:
    """A boolean expression and its parameters, in order. InvalidRequest on what jsonb cannot hold."""
    match node:
        case Every(parts):
            return _joined(parts, " AND ")
        case Some(parts):
            return _joined(parts, " OR ")
        case Without(part):
            condition, values = condition_of(part)
            return SQL("(NOT {})").format(condition), values
        case Test():
            condition, values = _passes(node)
            return (SQL("(NOT {})").format(condition) if node.negated else condition), values


def _joined(parts: tuple[Node, ...], word: str) -> tuple[Composable, list[Any]]:
    conditions: list[Composable] = []
    values: list[Any] = []
    for part in parts:
        condition, of_part = condition_of(part)
        conditions.append(condition)
        values += of_part
    joined: Composed = (SQL(" AND ") if word == " AND " else SQL(" OR ")).join(conditions)
    return SQL("({})").format(joined), values


def _passes(test: Test) -> tuple[Composable, list[Any]]:
    """The test before it is negated."""
    if "\0" in test.field or any(isinstance(value, str) and "\0" in value for value in test.values):
        raise InvalidRequest(
            f"{test.field!r}: PostgreSQL keeps no NUL in texts, so none can match", param=test.path
        )
    if test.op == "$exists":
        return SQL("(metadata ? %s)"), [test.field]
    if test.op in RANGES:
        return _range(test)
    choices = [choice for value in test.values for choice in _equal(test.field, value)]
    return SQL("(metadata @> ANY(%s::text[]::jsonb[]))"), [choices]


def _range(test: Test) -> tuple[Composable, list[Any]]:
    operator = _OPERATORS[test.op]
    if isinstance(test.value, str):  # in the order of code points, whatever the database's collation
        held = SQL(
            "COALESCE(jsonb_typeof(metadata -> %s) = 'string' AND (metadata ->> %s) COLLATE \"C\" {} %s, false)"
        )
        return held.format(operator), [test.field, test.field, test.value]
    held = SQL("COALESCE(jsonb_typeof(metadata -> %s) = 'number' AND (metadata -> %s) {} %s::jsonb, false)")
    return held.format(operator), [test.field, test.field, orjson.dumps(test.value).decode()]


def _equal(field: str, value: Scalar) -> list[str]:
    """Documents of which a record's metadata must contain one: the value, or a list that has the text in it."""
    alone = orjson.dumps({field: value}).decode()
    return [alone, orjson.dumps({field: [value]}).decode()] if isinstance(value, str) else [alone]

"""Filters in other stores against the plain twin: every document and every filter, on the real engines.

Qdrant's engine is `qdrant-edge`, the server's own in one process; its binding takes true for 1, so tests of truth are
left to the client's local mode (`test_contract.py`).
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge
from postgres import postgres_url  # noqa: F401 - a fixture

from paceline.base.errors import InvalidRequest
from paceline.base.vectors_collections import CreateCollection, DropCollection
from paceline.base.vectors_records import Delete, Query, Upsert, VectorItem
from paceline.vectors import filter_nodes
from paceline.vectors.adapters import open_adapter
from paceline.vectors.adapters.qdrant_filter import condition_of
from paceline.vectors.filters import Filter
from paceline.vectors.policy import VectorsPolicy

DOCUMENTS: list[dict[str, Any]] = [
    {},
    {"n": 3},
    {"n": 3.0},
    {"n": 3.5, "s": "b"},
    {"n": -1, "s": ""},
    {"n": (1 << 60) + 1},
    {"n": 1 << 60},
    {"n": 1e300},
    {"n": True},
    {"n": False, "s": "B"},
    {"n": "3"},
    {"n": ["3", "x"]},
    {"s": ["b", "c"]},
    {"s": "ä"},
    {"s": "a\\b'c%s"},
    {"a.b": 1, "sp ace[0]": "x"},
]
VALUES = [3, 3.0, 3.5, 0, 1, True, False, (1 << 60) + 1, 1e300, "3", "b", "", "B", "ä", "a\\b'c%s", "x"]
FILTERS: list[dict[str, Any]] = [
    *({field: {op: value}} for field, op, value in itertools.product("ns", ("$eq", "$ne"), VALUES)),
    *(
        {field: {op: value}}
        for field, op, value in itertools.product("ns", ("$gt", "$gte", "$lt", "$lte"), VALUES)
        if not isinstance(value, bool)
    ),
    *({field: {"$exists": there}} for field, there in itertools.product(("n", "s", "a.b", "z"), (True, False))),
    {"n": {"$in": [3, "x", True]}},
    {"n": {"$nin": [3, "x"]}},
    {"s": {"$in": ["b", "ä", 4]}},
    {"s": {"$in": []}},
    {"a.b": 1},
    {"sp ace[0]": "x"},
    {"n": {"$gt": 0, "$not": {"$in": [3.5, 1e300]}}},
    {"$or": [{"s": "b"}, {"$not": {"n": {"$lte": 3}}}]},
    {"$and": [{"n": {"$exists": True}}, {"$or": [{"s": {"$gt": "A"}}, {"n": 3}]}]},
]  # fmt: skip


def passing(wanted: dict[str, Any]) -> list[int]:
    """By the plain twin."""
    parsed = Filter.parse(wanted)
    return [i for i, document in enumerate(DOCUMENTS) if parsed.matches(document)]


def test_postgres_passes_whom_the_twin_passes(postgres_url: str) -> None:  # noqa: F811 - the fixture
    """Every filter, in SQL on jsonb, and what comes back is what was sent."""

    async def found() -> list[list[int]]:
        async with open_adapter(VectorsPolicy(backend="pgvector", url=postgres_url)) as service:

            async def ask(asked: Any) -> Any:
                return await service.answer(asked, deadline_at=time.monotonic() + 30)

            await ask(CreateCollection(name="documents", dimension=1))
            items = [VectorItem(str(i), [1.0], document) for i, document in enumerate(DOCUMENTS)]
            await ask(Upsert(collection="documents", vectors=items))
            every = [
                await ask(Query(collection="documents", vector=[1.0], top_k=50, filter=wanted))
                for wanted in FILTERS
            ]
            kept = await ask(Query(collection="documents", vector=[1.0], top_k=50, include_metadata=True))
            with pytest.raises(InvalidRequest, match="NUL"):
                await ask(Delete(collection="documents", filter={"s": "\0"}))
            await ask(DropCollection(collection="documents"))
            assert {int(one.id): one.metadata or {} for one in kept.matches} == dict(enumerate(DOCUMENTS))
            return [sorted(int(one.id) for one in answer.matches) for answer in every]

    assert dict(zip(map(str, FILTERS), asyncio.run(found()), strict=True)) == {
        str(wanted): passing(wanted) for wanted in FILTERS
    }


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[edge.EdgeShard]:
    """The documents as the adapter stores them, in Qdrant's engine."""
    folder: Path = tmp_path_factory.mktemp("shard")
    vectors = edge.EdgeVectorParams(size=1, distance=edge.Distance.Dot)
    opened = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=vectors))
    points = [
        edge.Point(uuid.UUID(int=i), [1.0], {"metadata": document}) for i, document in enumerate(DOCUMENTS)
    ]
    opened.update(edge.UpdateOperation.upsert_points(points))
    yield opened
    opened.close()


def test_qdrants_engine_passes_whom_the_twin_passes(shard: edge.EdgeShard) -> None:
    """Every filter that Qdrant has words for and the binding can say."""
    told, expected = {}, {}
    for wanted in FILTERS:
        parsed = Filter.parse(wanted)
        if any(
            isinstance(value, bool)
            for test in filter_nodes.tests_of(parsed.root)
            for value in test.values
            if test.op != "$exists"
        ):
            continue
        try:
            condition = condition_of(parsed.root)
        except InvalidRequest:
            continue
        request = edge.ScrollRequest(limit=100, filter=edge.Filter(must=[_engine_condition(condition)]))
        told[str(wanted)] = sorted(uuid.UUID(str(point.id)).int for point in shard.scroll(request)[0])
        expected[str(wanted)] = passing(wanted)

    assert told == expected
    assert len(told) > len(FILTERS) // 2


def test_what_qdrant_has_no_words_for_is_said() -> None:
    """Order of texts, whole numbers past float64 in an order, and a quote in a name."""
    for wanted, reason in (
        ({"s": {"$gt": "a"}}, "no order of texts"),
        ({"n": {"$lt": 1 << 60}}, "float64"),
        ({'o"p': 1}, "cannot address"),
    ):
        with pytest.raises(InvalidRequest, match=reason):
            condition_of(Filter.parse(wanted).root)


def test_an_empty_list_is_none_in_qdrant(shard: edge.EdgeShard) -> None:
    """The one difference that cannot be said in its conditions; the guide names it."""
    point = edge.Point(uuid.UUID(int=99), [1.0], {"metadata": {"s": []}})
    shard.update(edge.UpdateOperation.upsert_points([point]))
    condition = _engine_condition(condition_of(Filter.parse({"s": {"$exists": True}}).root))
    found = shard.scroll(edge.ScrollRequest(limit=100, filter=edge.Filter(must=[condition])))[0]
    shard.update(edge.UpdateOperation.delete_points([uuid.UUID(int=99)]))

    assert Filter.parse({"s": {"$exists": True}}).matches({"s": []})
    assert 99 not in {uuid.UUID(str(one.id)).int for one in found}


def _engine_condition(condition: dict[str, Any]) -> Any:
    """A condition of the REST interface as the engine's binding takes it."""
    match condition:
        case {"is_empty": {"key": key}}:
            return edge.IsEmptyCondition(key)
        case {"has_id": points}:
            return edge.HasIdCondition(set(points))
        case {"key": key, "range": bounds}:
            return edge.FieldCondition(key=key, range=edge.RangeFloat(**bounds))
        case {"key": key, "match": {"value": value}}:
            return edge.FieldCondition(key=key, match=edge.MatchValue(value))
        case {"key": key, "match": {"any": values}}:
            return edge.FieldCondition(key=key, match=edge.MatchAny(values))
    return edge.Filter(
        **{word: [_engine_condition(part) for part in parts] for word, parts in condition.items()}
    )

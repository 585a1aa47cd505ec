"""What every `VectorService` promises, whatever store is behind it: one specification, run against each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from film_store import FILMS, Scenario, Store, direction, unit
from postgres import postgres_url  # noqa: F401 - a fixture
from qdrant_server import API_KEY, qdrant_server

from paceline.base.errors import InvalidRequest, NotFound
from paceline.base.vectors_api import VectorService
from paceline.base.vectors_collections import (
    CreateCollection,
    Describe,
    DescribeCollection,
    DropCollection,
    ListCollections,
)
from paceline.base.vectors_records import Delete, Fetch, ListIds, Query, Update, Upsert, VectorItem
from paceline.vectors.adapters import open_adapter
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.service import LocalVectors
from paceline.vectors.store import VectorStore


@contextlib.asynccontextmanager
async def opened(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[VectorService]:
    if kind == "local":
        policy = VectorsPolicy(folder=str(request.getfixturevalue("tmp_path")))
        local = LocalVectors(VectorStore(request.getfixturevalue("tmp_path"), policy), policy)
        await local.start()
        try:
            yield local
        finally:
            await local.close()
    elif kind == "qdrant":
        async with (
            qdrant_server() as (url, _),
            open_adapter(VectorsPolicy(backend="qdrant", url=url, api_key=API_KEY)) as service,
        ):
            yield service
    else:
        async with open_adapter(
            VectorsPolicy(backend="pgvector", url=request.getfixturevalue("postgres_url"))
        ) as service:
            try:
                yield service
            finally:
                store = Store(service)
                for card in (await store.ask(ListCollections())).collections:
                    await store.ask(DropCollection(collection=card.name))


@pytest.fixture(params=["local", "pgvector", "qdrant"])
def play(request: pytest.FixtureRequest) -> Callable[[Scenario], Any]:
    """Run a scenario on an empty store of each kind."""
    if request.param == "pgvector":
        request.getfixturevalue("postgres_url")

    def run(scenario: Scenario) -> Any:
        async def whole() -> Any:
            async with opened(request.param, request) as service:
                return await scenario(Store(service))

        return asyncio.run(whole())

    return run


@pytest.mark.parametrize(
    ("metric", "told", "score"),
    [
        ("cosine", "cosine", 0.8),
        ("dotproduct", "dot", 1.6),
        ("dot", "dot", 1.6),
        ("euclidean", "l2", -1.8),
        ("l2", "l2", -1.8),
    ],
)
def test_a_score_is_higher_where_it_is_nearer(play: Any, metric: Any, told: str, score: float) -> None:
    """Cosine, inner product, and minus the squared distance, under the names that callers and we use."""

    async def scenario(store: Store) -> None:
        card = await store.ask(CreateCollection(name="points", dimension=2, metric=metric))
        near, far = VectorItem("near", [1.6, 1.2]), VectorItem("far", [-1.0, 0.0])
        await store.ask(Upsert(vectors=[near, far]))

        matches = (await store.ask(Query(vector=[1.0, 0.0]))).matches

        assert card.metric == told
        assert [one.id for one in matches] == ["near", "far"]
        assert matches[0].score == pytest.approx(score, abs=2e-3)

    play(scenario)


def test_nearest_first_with_what_was_asked_for(play: Any) -> None:
    """Values and metadata come when asked for, and only then."""

    async def scenario(store: Store) -> None:
        await store.films()

        bare = (await store.ask(Query(vector=[1.0, 0.0, 0.0], top_k=2))).matches
        full = (
            await store.ask(
                Query(vector=[1.0, 0.0, 0.0], top_k=5, include_values=True, include_metadata=True)
            )
        ).matches

        assert [(one.id, one.values, one.metadata) for one in bare] == [
            ("alien", None, None),
            ("brazil", None, None),
        ]
        assert {one.id: one.metadata for one in full} == {film: metadata for film, _, metadata in FILMS}
        assert unit(full[0].values) == direction([1.0, 0.0, 0.1])

    play(scenario)


def test_by_the_vector_of_a_record(play: Any) -> None:
    """The record itself is among the results; one that is not there is an error."""

    async def scenario(store: Store) -> None:
        await store.films()

        assert (await store.ids(id="alien", top_k=2)) == ["alien", "brazil"]
        with pytest.raises(NotFound, match="zardoz"):
            await store.ids(id="zardoz")

    play(scenario)


@pytest.mark.parametrize(
    ("wanted", "passing"),
    [
        ({"genre": "drama"}, "cd"),
        ({"genre": {"$ne": "drama"}}, "abe"),
        ({"genre": {"$in": ["horror", "satire"]}}, "ab"),
        ({"genre": {"$nin": ["horror", "satire"]}}, "cde"),
        ({"genre": {"$in": []}}, ""),
        ({"genre": {"$nin": []}}, "abcde"),
        ({"tags": "space"}, "ad"),
        ({"tags": {"$in": ["desert", "ship"]}}, "ad"),
        ({"year": {"$gte": 1979, "$lt": 2021}}, "ab"),
        ({"year": {"$in": [1942, 2021.0]}}, "cd"),
        ({"rating": {"$gt": 7.5}}, "bd"),
        ({"rating": 8}, "d"),
        ({"seen": True}, "a"),
        ({"seen": {"$ne": True}}, "bcde"),
        ({"rating": {"$exists": True}}, "bd"),
        ({"rating": {"$exists": False}}, "ace"),
        ({"$or": [{"genre": "horror"}, {"year": {"$lt": 1950}}]}, "ac"),
        ({"$and": [{"genre": "drama"}, {"tags": "space"}]}, "d"),
        ({"$not": {"genre": "drama"}}, "abe"),
        ({"year": {"$not": {"$gt": 1980}}}, "ace"),
    ],
)
def test_filters_mean_the_same(play: Any, wanted: Any, passing: str) -> None:
    """Who passes a filter is found, who does not is not."""

    async def scenario(store: Store) -> None:
        await store.films()

        found = await store.ids(vector=[1.0, 0.5, 0.5], filter=wanted)

        assert "".join(sorted(name[0] for name in found)) == passing

    play(scenario)


def test_namespaces_are_apart(play: Any) -> None:
    """A record is known by its namespace and its id; the empty namespace is one of them."""

    async def scenario(store: Store) -> None:
        await store.films()
        await store.ask(Upsert(vectors=[VectorItem("alien", [0.0, 0.0, 1.0])], namespace="été"))

        described = await store.ask(Describe())
        assert {name: one.vector_count for name, one in described.namespaces.items()} == {"": 5, "été": 1}
        assert (described.total_vector_count, described.dimension, described.metric) == (6, 3, "cosine")
        assert (await store.ids(vector=[1.0, 0.0, 0.0], namespace="été")) == ["alien"]
        assert (await store.ids(vector=[1.0, 0.0, 0.0], namespace="none")) == []
        assert (await store.ask(Delete(delete_all=True, namespace="été"))).deleted_count == 1
        assert (await store.ask(Describe())).total_vector_count == 5

    play(scenario)


def test_an_upsert_replaces(play: Any) -> None:
    """Of a record that is sent again nothing of the old remains."""

    async def scenario(store: Store) -> None:
        await store.films()

        await store.ask(Upsert(vectors=[VectorItem("alien", [0.0, 0.0, 2.0], {"sequel": 1})]))
        item = (await store.ask(Fetch(ids=["alien", "zardoz"]))).vectors["alien"]

        assert item.metadata == {"sequel": 1}
        assert unit(item.values) == direction([0.0, 0.0, 2.0])
        assert (await store.ask(Describe())).total_vector_count == 5

    play(scenario)


def test_a_text_is_kept_in_the_metadata(play: Any) -> None:
    """As the field `text`, beside what is there."""

    async def scenario(store: Store) -> None:
        await store.films()

        await store.ask(Upsert(vectors=[VectorItem("solaris", [0.0, 0.0, 1.0], {"year": 1972}, "An ocean.")]))
        item = (await store.ask(Fetch(ids=["solaris"], include_values=False))).vectors["solaris"]

        assert (item.values, item.metadata) == (None, {"year": 1972, "text": "An ocean."})

    play(scenario)


def test_an_update_changes_what_it_names(play: Any) -> None:
    """Fields are set and removed, the rest stays; a vector is replaced; nobody is made."""

    async def scenario(store: Store) -> None:
        await store.films()

        await store.ask(Update(id="brazil", set_metadata={"year": 1986, "rating": None, "a.b": "new"}))
        changed = (await store.ask(Fetch(ids=["brazil"]))).vectors["brazil"]
        await store.ask(Update(id="eraserhead", values=[0.0, 3.0, 0.0], set_metadata={"seen": True}))
        moved = (await store.ask(Fetch(ids=["eraserhead"]))).vectors["eraserhead"]

        assert changed.metadata == {"year": 1986, "genre": "satire", "a.b": "new"}
        assert unit(changed.values) == direction([0.9, 0.3, 0.0])
        assert (await store.ids(vector=[1.0, 0.0, 0.0], filter={"a.b": "new"})) == ["brazil"]
        assert (unit(moved.values), moved.metadata) == (direction([0.0, 1.0, 0.0]), {"seen": True})
        with pytest.raises(NotFound, match="zardoz"):
            await store.ask(Update(id="zardoz", set_metadata={"seen": True}))

    play(scenario)


def test_deleting_tells_how_many(play: Any) -> None:
    """By ids, those that are not there not counted, or by a filter; one of them at a time."""

    async def scenario(store: Store) -> None:
        await store.films()

        assert (await store.ask(Delete(ids=["alien", "zardoz"]))).deleted_count == 1
        assert (await store.ask(Delete(filter={"genre": "drama"}))).deleted_count == 2
        assert (await store.ids(vector=[1.0, 0.0, 0.0])) == ["brazil", "eraserhead"]
        with pytest.raises(InvalidRequest, match="one of"):
            await store.ask(Delete(ids=["brazil"], delete_all=True))
        with pytest.raises(InvalidRequest, match="one of"):
            await store.ask(Delete())

    play(scenario)


def test_ids_are_listed_in_pages(play: Any) -> None:
    """Every id once, whatever the size of a page; the last page has no token."""

    async def scenario(store: Store) -> None:
        await store.films()

        listed: list[str] = []
        token, pages = None, 0
        while pages == 0 or token is not None:
            page = await store.ask(ListIds(limit=2, pagination_token=token))
            listed += [one.id for one in page.vectors]
            token, pages = page.pagination.next if page.pagination else None, pages + 1

        assert (sorted(listed), pages) == (sorted(film for film, _, _ in FILMS), 3)
        assert [one.id for one in (await store.ask(ListIds(prefix="d"))).vectors] == ["dune"]

    play(scenario)


def test_collections_are_made_listed_and_dropped(play: Any) -> None:
    """A name can be used once, and again when it is free."""

    async def scenario(store: Store) -> None:
        await store.films("films")
        await store.ask(CreateCollection(name="books-2", dimension=4, metric="dot", precision="fp32"))

        cards = (await store.ask(ListCollections())).collections
        assert [(card.name, card.dimension, card.metric, card.records) for card in cards] == [
            ("books-2", 4, "dot", 0),
            ("films", 3, "cosine", 5),
        ]
        with pytest.raises(InvalidRequest, match="exists"):
            await store.ask(CreateCollection(name="films", dimension=3))
        with pytest.raises(NotFound, match="books-2, films"):
            await store.ids(vector=[1.0, 0.0, 0.0])
        assert (await store.ask(DescribeCollection(collection="books-2"))).precision == "fp32"
        await store.ask(DropCollection(collection="films"))
        with pytest.raises(NotFound, match="films"):
            await store.ask(Describe(collection="films"))
        await store.ask(CreateCollection(name="films", dimension=2))
        assert (await store.ask(Describe(collection="films"))).dimension == 2

    play(scenario)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (Query(vector=[1.0, 0.0]), "3"),
        (Query(vector=[0.0, 0.0, 0.0]), "zero"),
        (Query(vector=[float("nan"), 0.0, 1.0]), "NaN"),
        (Query(vector=[1.0, 0.0, 0.0], top_k=0), "0"),
        (Query(vector=[1.0, 0.0, 0.0], top_k=100_000), "100000"),
        (Query(vector=[1.0, 0.0, 0.0], filter={"year": {"$near": 3}}), "near"),
        (Query(), "vector"),
        (Upsert(vectors=[VectorItem("a", [1.0, 2.0])]), "3"),
        (Upsert(vectors=[VectorItem("a", [1.0, 2.0, 3.0]), VectorItem("a", [1.0, 2.0, 3.0])]), "twice"),
        (Upsert(vectors=[VectorItem("", [1.0, 2.0, 3.0])]), "id"),
        (Upsert(vectors=[VectorItem("a", [1.0, 2.0, 3.0], {"nested": {"a": 1}})]), "nested"),
        (Query(vector=[1.0, 0.0, 0.0], id="alien"), "id"),
        (Update(id="alien", values=[1.0]), "3"),
        (Update(id="alien"), "nothing"),
        (DropCollection(), "named"),
        (CreateCollection(name="No Good", dimension=3), "No Good"),
    ],
)
def test_what_is_wrong_is_named(play: Any, asked: Any, named: str) -> None:
    """The caller's mistake comes back with its value, and nothing is written."""

    async def scenario(store: Store) -> None:
        await store.films()

        with pytest.raises(InvalidRequest, match=named):
            await store.ask(asked)
        assert (await store.ask(Describe())).total_vector_count == 5

    play(scenario)


def test_an_unknown_collection_is_not_found(play: Any) -> None:
    """Also when nothing is named and there is none."""

    async def scenario(store: Store) -> None:
        with pytest.raises(NotFound, match="films"):
            await store.ids(collection="films", vector=[1.0])
        with pytest.raises(NotFound, match="there are: none"):
            await store.ids(vector=[1.0])

    play(scenario)


def test_many_records_are_ranked_as_by_brute_force(play: Any) -> None:
    """The ten nearest of 500 are those that numpy finds, with a filter and without."""

    async def scenario(store: Store) -> None:
        rng = np.random.default_rng(7)
        vectors = rng.standard_normal((500, 16)).astype(np.float32)
        await store.ask(CreateCollection(name="many", dimension=16, precision="fp32"))
        await store.ask(
            Upsert(
                vectors=[
                    VectorItem(f"r{i:03}", row.tolist(), {"part": i % 5}) for i, row in enumerate(vectors)
                ]
            )
        )
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        asked = unit[3] + 0.1
        order = np.argsort(-(unit @ asked))

        for wanted, rows in ((None, order), ({"part": 2}, order[order % 5 == 2])):
            found = await store.ids(vector=asked.tolist(), filter=wanted, exact=True)
            assert found == [f"r{i:03}" for i in rows[:10]]

    play(scenario)

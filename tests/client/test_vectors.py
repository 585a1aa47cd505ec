"""Collections over HTTP: what users may give, what is sent of it, and what is not asked twice."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator

import numpy as np
import pytest

from paceline.base.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    PacelineError,
    StorageFull,
    Unreachable,
)
from paceline.base.vectors_collections import CollectionCard, Describe
from paceline.base.vectors_records import (
    Delete,
    Deleted,
    Matched,
    Queried,
    Query,
    Update,
    Upsert,
    Upserted,
    VectorItem,
)
from paceline.client import AsyncClient, Client, HttpVectors, Retries
from scripted_server import Answer, problem

AT_ONCE = Retries(first_wait_s=0.0)
ONE = np.float32([0.5, -0.25])
PACKED = base64.b64encode(ONE.tobytes()).decode()
CARD = {"name": "papers", "dimension": 2, "metric": "cosine", "precision": "int8", "records": 0, "version": 0}


def blocking(url, call, **options):
    with Client(url, **{"retry": AT_ONCE, **options}) as client:
        answer = call(client)
        return [*answer] if isinstance(answer, Iterator) else answer


def asynchronous(url, call, **options):
    async def run():
        async with AsyncClient(url, **{"retry": AT_ONCE, **options}) as client:
            answer = call(client)
            return [one async for one in answer] if hasattr(answer, "__aiter__") else await answer

    return asyncio.run(run())


@pytest.fixture(params=[blocking, asynchronous])
def using(request):
    """Run one call with a client of either kind."""
    return request.param


def body(server, place=0):
    return json.loads(server.seen[place]["body"])


def served(url, *questions, patience_s=30.0, **options):
    """The answers of a `HttpVectors`, or the error of the last, and what it says of itself."""

    async def run():
        async with HttpVectors(AsyncClient(url, **{"retry": AT_ONCE, **options})) as vectors:
            answers = []
            for asked in questions:
                try:
                    answers.append(await vectors.answer(asked, deadline_at=time.monotonic() + patience_s))
                except PacelineError as error:
                    answers.append(error)
            return answers, vectors.health(), vectors.stats()

    return asyncio.run(run())


def test_what_the_path_says_is_not_said_again(server, using):
    server.says(Answer(body={"damaged": {"3": "checksum"}}))

    damaged = using(server.url, lambda client: client.collection("a b").verify())

    assert damaged == {"3": "checksum"}
    assert (server.seen[0]["path"], body(server)) == ("/v1/collections/a b/verify", {})


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (
            {"id": "a", "values": [0.5, -0.25], "metadata": {"n": 1}},
            {"id": "a", "values": PACKED, "metadata": {"n": 1}},
        ),
        (("a", ONE), {"id": "a", "values": PACKED}),
        (("a", [0.5, -0.25], {"n": 1}), {"id": "a", "values": PACKED, "metadata": {"n": 1}}),
        (VectorItem("a", [0.5, -0.25]), {"id": "a", "values": PACKED}),
        (VectorItem("a", PACKED), {"id": "a", "values": PACKED}),
        ({"id": "a", "text": "sea"}, {"id": "a", "text": "sea"}),
    ],
)
def test_records_may_be_given_in_many_ways(server, using, given, sent):
    """Numbers travel as base64, which keeps every bit."""
    server.says(Answer(body={"upsertedCount": 1}))

    count = using(server.url, lambda client: client.collection("papers").upsert([given], namespace="n"))

    assert count == 1
    assert body(server) == {"collection": "papers", "vectors": [sent], "namespace": "n"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"id": "a", "vector": [1.0]},
            "vectors[0] has id, vector; a record has id, values or text, and metadata",
        ),
        (
            ["a", [1.0]],
            "vectors[0] is of type list; give a dict with id and values, or (id, values, metadata)",
        ),
        (("a", [[1.0]]), "vectors[0].values has shape (1, 1); give one vector, of shape (dimensions,)"),
        (("a", ["x"]), "vectors[0].values is \"['x']\"; give a list of numbers"),
    ],
)
def test_what_is_no_record_is_refused_before_it_is_sent(server, using, given, message):
    with pytest.raises(InvalidRequest) as caught:
        using(server.url, lambda client: client.collection("papers").upsert([given]))

    assert (caught.value.message, server.seen) == (message, [])


def test_a_query_says_what_it_wants(server, using):
    server.says(Answer(body={"matches": [{"id": "a", "score": 0.5, "metadata": {"year": 2001}}]}))

    found = using(
        server.url,
        lambda client: client.collection("papers").query(
            ONE, top_k=3, filter={"year": {"$gte": 2000}}, include_metadata=True, ef=50
        ),
        token="secret",
    )

    assert found == Queried(matches=[Matched("a", 0.5, metadata={"year": 2001})])
    sent = body(server)
    assert [sent[name] for name in ("vector", "topK", "filter", "includeMetadata", "ef")] == [
        PACKED,
        3,
        {"year": {"$gte": 2000}},
        True,
        50,
    ]
    assert server.seen[0]["headers"]["authorization"] == "Bearer secret"


def test_a_text_is_searched_where_it_can_be_embedded(server, using):
    server.says(Answer(body={"matches": []}))

    using(server.url, lambda client: client.collection("papers").search("sea", mode="hybrid", top_k=3))

    sent = body(server)
    assert (server.seen[0]["path"], sent["text"], sent["mode"], sent["topK"]) == (
        "/v1/search",
        "sea",
        "hybrid",
        3,
    )


def test_ids_come_page_by_page(server, using):
    server.says(
        Answer(body={"vectors": [{"id": "a"}, {"id": "b"}], "pagination": {"next": "t"}}),
        Answer(body={"vectors": [{"id": "c"}]}),
    )

    found = using(server.url, lambda client: client.collection("papers").ids(page=2))

    assert found == ["a", "b", "c"]
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        (
            lambda one: one.update("a", values=ONE, set_metadata={"n": None}),
            {"id": "a", "values": PACKED, "setMetadata": {"n": None}},
        ),
        (lambda one: one.delete(["a"]), {"ids": ["a"], "filter": None, "deleteAll": False}),
        (lambda one: one.delete(filter={"n": 1}), {"ids": None, "filter": {"n": 1}}),
        (lambda one: one.fetch(["a"], include_values=False), {"ids": ["a"], "includeValues": False}),
        (lambda one: one.stats(), {"collection": "papers"}),
        (
            lambda one: one.tune(0.9, vectors=[ONE], apply=False),
            {"recall": 0.9, "vectors": [PACKED], "apply": False},
        ),
        (lambda one: one.reencode("fp16"), {"precision": "fp16"}),
        (lambda one: one.reshard(3), {"shards": 3}),
        (lambda one: one.snapshot("s"), {"name": "s"}),
        (lambda one: one.restore("b", "s"), {"source": "b", "name": "s"}),
    ],
)
def test_the_other_calls_say_what_they_are_given(server, using, call, asked):
    """Whatever is answered: this is about what is sent."""
    server.says(problem(404, "not_found", "no collection 'papers'"))

    with pytest.raises(NotFound, match="no collection 'papers'"):
        using(server.url, lambda client: call(client.collection("papers")))

    sent = body(server)
    assert {name: sent[name] for name in asked} == asked


def test_collections_are_made_and_listed(server, using):
    server.says(Answer(body={"collections": [CARD]}))
    cards = using(server.url, lambda client: client.collections())
    server.says(Answer(body=CARD))
    made = using(server.url, lambda client: client.create_collection("papers", dimension=2, sample=[ONE]))

    assert cards == [
        CollectionCard(name="papers", dimension=2, metric="cosine", precision="int8", records=0, version=0)
    ]
    assert (made.name, body(server)["sample"]) == ("papers", [PACKED])


def test_a_question_without_a_collection_is_refused(server, using):
    with pytest.raises(InvalidRequest, match="Compact of no collection; name one"):
        using(server.url, lambda client: client.collection().compact())

    assert server.seen == []


def test_what_can_be_done_once_only_is_not_sent_again_when_its_answer_is_lost(server, using):
    """The second try would be refused, and say that the first had failed."""
    server.says(Answer(pieces=[], cut=True), Answer(body={}))

    with pytest.raises(Unreachable):
        using(server.url, lambda client: client.collection("papers").drop())

    assert len(server.seen) == 1


def test_what_can_be_done_again_is(server, using):
    server.says(Answer(pieces=[b"{"], cut=True), Answer(body={"upsertedCount": 1}))

    assert using(server.url, lambda client: client.collection("papers").upsert([("a", ONE)])) == 1


def test_a_service_answers_over_http(server):
    server.says(
        Answer(body={"upsertedCount": 1}),
        Answer(body={"deletedCount": 2}),
        problem(507, "storage_full", "no room"),
    )

    (upserted, deleted, error), health, stats = served(
        server.url,
        Upsert(vectors=[VectorItem("a", PACKED)]),
        Delete(delete_all=True),
        Update(id="a"),
        retry=Retries(attempts=1),
    )

    assert (upserted, deleted, type(error)) == (
        Upserted(upserted_count=1),
        Deleted(deleted_count=2),
        StorageFull,
    )
    assert health == {"status": "failing", "url": server.url, "trouble": "no room"}
    assert stats == {"http": {"asked": 3, "failed": 1}}


def test_a_service_stays_well_when_a_question_is_wrong(server):
    server.says(problem(404, "not_found", "no collection 'x'"))

    (error,), health, _ = served(server.url, Describe(collection="x"))

    assert (type(error), health) == (NotFound, {"status": "ok", "url": server.url})


def test_a_service_waits_until_the_deadline_and_no_longer(server):
    server.says(Answer(hang=True))

    (error,), _, _ = served(server.url, Describe(), patience_s=0.05)

    assert (type(error), server.left.wait(30)) == (DeadlineExceeded, True)


def test_a_service_has_nothing_in_memory():
    async def hit():
        async with HttpVectors(AsyncClient()) as vectors:
            return vectors.hit(Query(id="a"))

    assert asyncio.run(hit()) is None


def test_a_server_of_another_kind_is_told(server, using):
    server.says(Answer(body={"collections": "none"}))

    with pytest.raises(ConfigError, match="does not answer as a Paceline server does"):
        using(server.url, lambda client: client.collections())


def test_a_collection_lives_on_a_real_server(vectors_server, using):
    """From nothing to a searched collection, and away again."""
    name = f"client-{using.__name__}"

    def make(client):
        return client.create_collection(name, dimension=2, metric="l2", precision="fp32", rescore="none")

    using(vectors_server, make)

    def ask(call):
        return using(vectors_server, lambda client: call(client.collection(name)))

    records = [(f"v{n}", [n, -n], {"n": n}) for n in range(5)]

    assert ask(lambda one: one.upsert(records)) == 5
    found = ask(lambda one: one.query([3.1, -3.1], top_k=2, filter={"n": {"$lt": 3}}, include_metadata=True))
    assert [(match.id, match.metadata) for match in found.matches] == [("v2", {"n": 2}), ("v1", {"n": 1})]
    ask(lambda one: one.update("v4", values=[9, 9], set_metadata={"m": True}))
    assert ask(lambda one: one.fetch(["v4", "no"])) == {
        "v4": VectorItem("v4", [9.0, 9.0], {"n": 4, "m": True})
    }
    assert ask(lambda one: one.ids(page=2)) == [f"v{n}" for n in range(5)]
    assert ask(lambda one: one.delete(["v0", "v1"])) == 2
    assert ask(lambda one: one.stats()).total_vector_count == 3
    with pytest.raises(InvalidRequest, match="vector has 3 numbers, the collection's vectors have 2"):
        ask(lambda one: one.query([1, 2, 3]))
    ask(lambda one: one.drop())
    assert name not in [card.name for card in using(vectors_server, lambda client: client.collections())]


def test_texts_are_embedded_by_the_server(vectors_server, using):
    name = f"texts-{using.__name__}"
    using(vectors_server, lambda client: client.create_collection(name))
    texts = [{"id": "fish", "text": "how fish sleep"}, {"id": "rails", "text": "a history of railways"}]

    using(vectors_server, lambda client: client.collection(name).upsert(texts))
    found = using(vectors_server, lambda client: client.collection(name).search("resting fishes", top_k=1))

    assert [(match.id, match.metadata) for match in found.matches] == [("fish", {"text": "how fish sleep"})]

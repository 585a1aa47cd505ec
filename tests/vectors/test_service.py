"""What is asked of collections is answered, and what is wrong with it told, by the names it was asked with."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from collections_of import DIMENSIONS, SMALL, vector, vectors
from served import ask, create, served, upsert

from paceline.base.errors import (
    DeadlineExceeded,
    EngineError,
    FolderInUse,
    InvalidRequest,
    NotFound,
    PacelineError,
)
from paceline.base.vectors_collections import (
    Compact,
    ComparePrecisions,
    Describe,
    DescribeCollection,
    DropCollection,
    ListCollections,
    ListSnapshots,
    Reencode,
    Reshard,
    Restore,
    Snapshot,
    Tune,
    Verify,
)
from paceline.base.vectors_records import Delete, Fetch, ListIds, Queried, Query, Update, Upsert, VectorItem
from paceline.vectors.held import QUICK_S
from paceline.vectors.policy import SearchPolicy
from paceline.vectors.service import LocalVectors

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Cache tiers are asyncio's."""
    return "asyncio"


def near(seed: int, **fields: Any) -> Query:
    """The records nearest to vector `seed`."""
    return Query(**{"vector": vector(seed).tolist(), "top_k": 3, **fields})


def ids(answer: Queried) -> list[str]:
    """Of the matches, best first."""
    return [match.id for match in answer.matches]


# -- records ------------------------------------------------------------------------------------------------------


async def test_a_record_is_written_found_changed_and_deleted(tmp_path: Path) -> None:
    """Each at once for the next who asks."""
    async with served(tmp_path) as service:
        await ask(service, create())

        assert (await ask(service, upsert(20))).upserted_count == 20
        assert ids(await ask(service, near(7)))[0] == "v7"

        await ask(service, Update(id="v7", values=vector(100).tolist(), set_metadata={"n": None, "new": 1}))
        fetched = await ask(service, Fetch(ids=["v7", "v8", "nobody"]))
        assert fetched.vectors["v7"].metadata == {"new": 1}
        assert np.allclose(fetched.vectors["v7"].values, vector(100), atol=2e-3)
        assert sorted(fetched.vectors) == ["v7", "v8"]

        assert (await ask(service, Delete(ids=["v8", "nobody"]))).deleted_count == 1
        assert (await ask(service, Delete(filter={"n": {"$lt": 3}}))).deleted_count == 3
        assert (await ask(service, Describe())).total_vector_count == 16
        assert (await ask(service, Delete(delete_all=True))).deleted_count == 16


async def test_values_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    """Metadata too; values come as the query's own came."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(5))
        packed = base64.b64encode(vector(1).astype("<f4").tobytes()).decode()

        plain = (await ask(service, near(1))).matches[0]
        listed = (await ask(service, near(1, include_values=True, include_metadata=True))).matches[0]
        coded = (await ask(service, near(1, vector=packed, include_values=True))).matches[0]

        assert (plain.id, plain.values, plain.metadata) == ("v1", None, None)
        assert (len(listed.values), listed.metadata) == (DIMENSIONS, {"n": 1})
        assert np.frombuffer(base64.b64decode(coded.values), "<f4").tolist() == listed.values
        assert (await ask(service, Fetch(ids=["v1"], include_values=False))).vectors["v1"].values is None


async def test_a_record_is_the_query_of_its_neighbours(tmp_path: Path) -> None:
    """Itself among them, as with Pinecone; a filter and a namespace count."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(20))
        await ask(service, upsert(20, namespace="other"))

        assert ids(await ask(service, Query(id="v7", top_k=3))) == ids(await ask(service, near(7)))
        found = ids(await ask(service, Query(id="v7", filter={"n": {"$gte": 10}}, namespace="other")))
        assert len(found) == 10
        assert all(int(name[1:]) >= 10 for name in found)
        with pytest.raises(NotFound, match="no record 'nobody' in namespace 'other'"):
            await ask(service, Query(id="nobody", namespace="other"))


async def test_ids_are_listed_a_page_at_a_time(tmp_path: Path) -> None:
    """In rising order, of one namespace and prefix; the last page has no next."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(25))
        await ask(service, upsert(3, namespace="other"))
        pages, token = [], None
        while True:
            page = await ask(service, ListIds(limit=4, prefix="v1", pagination_token=token))
            pages.append([one.id for one in page.vectors])
            if page.pagination is None:
                break
            token = page.pagination.next

        assert pages == [["v1", "v10", "v11", "v12"], ["v13", "v14", "v15", "v16"], ["v17", "v18", "v19"]]
        with pytest.raises(InvalidRequest, match="which no page gave") as caught:
            await ask(service, ListIds(pagination_token="\x00"))
        assert caught.value.param == "paginationToken"


# -- what is wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (near(1, vector=[1.0]), "vector"),
        (near(1, vector=[float("nan")] * DIMENSIONS), "vector"),
        (near(1, vector=[0.0] * DIMENSIONS), "vector"),
        (near(1, vector="?"), "vector"),
        (Query(), "vector"),
        (near(1, id="v1"), "id"),
        (near(1, top_k=0), "topK"),
        (near(1, top_k=100_000), "topK"),
        (near(1, ef=0), "ef"),
        (near(1, candidates=-1), "candidates"),
        (near(1, namespace="\0"), "namespace"),
        (near(1, filter={"unknown": 1}), "filter.unknown"),
        (near(1, filter={"n": {"$gt": "text"}}), "filter.n.$gt"),
        (near(1, filter={"n": {"$near": 1}}), "filter.n.$near"),
        (Upsert(vectors=[VectorItem("a", [1.0])]), "vectors[0].values"),
        (Upsert(vectors=[VectorItem("", vector(1).tolist())]), "vectors[0].id"),
        (Upsert(vectors=[VectorItem("a", vector(1).tolist(), {"x": None})]), "vectors[0].metadata.x"),
        (Upsert(vectors=[VectorItem("a", vector(1).tolist())] * 2), "vectors[1].id"),
        (Upsert(vectors=[VectorItem("a", text="words")]), "vectors[0].values"),
        (Update(id="v1"), "setMetadata"),
        (Update(id="v1", values=[1.0]), "values"),
        (Delete(), "ids"),
        (Delete(ids=["a"], delete_all=True), "ids"),
        (create(name="A b"), "name"),
        (create(name="a"), "name"),
        (create(name="b", dimension=0), "dimension"),
        (create(name="b", rescore="none"), "rescore"),
        (create(name="b", shards=1000), "shards"),
        (Reshard(shards=0), "shards"),
        (create(name="b", reduction="pca", kept=2), "sample"),
        (DropCollection(), "collection"),
        (Restore(source="a", name="s"), "collection"),
        (Tune(recall=0.9), "vectors"),
        (Tune(recall=0.9, vectors=vectors(50).tolist()), "vectors"),
        (Tune(recall=1.0, vectors=vectors(100).tolist()), "recall"),
        (Tune(recall=0.9, confidence=1.0, vectors=vectors(100).tolist()), "confidence"),
    ],
)
async def test_what_is_wrong_is_refused_by_its_name_and_nothing_changes(
    tmp_path: Path, asked: Any, param: str
) -> None:
    """Whether it is found before the collection is asked, or by it."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(5))

        with pytest.raises(InvalidRequest) as caught:
            await ask(service, asked)

        assert caught.value.param == param
        assert (await ask(service, Describe())).version == 1


@pytest.mark.parametrize("kind", [Describe, Compact, DescribeCollection, DropCollection])
async def test_a_collection_that_is_not_there_is_not_found(tmp_path: Path, kind: type[Any]) -> None:
    """The error tells which there are."""
    async with served(tmp_path) as service:
        await ask(service, create("b"))
        await ask(service, create("a"))

        with pytest.raises(NotFound, match="no collection 'c'; there are: a, b") as caught:
            await ask(service, kind(collection="c"))

        assert caught.value.param == "collection"


async def test_what_nobody_knows_is_an_error_of_ours(tmp_path: Path) -> None:
    """Not of who asks."""
    async with served(tmp_path) as service:
        with pytest.raises(EngineError, match="VectorItem cannot be asked"):
            await ask(service, VectorItem("a"))


async def test_a_deadline_that_is_over_stops_what_has_not_begun(tmp_path: Path) -> None:
    """Nothing is written, nothing searched."""
    async with served(tmp_path) as service:
        await ask(service, create())
        for asked in (upsert(5), near(1), Compact(), create("b")):
            with pytest.raises(DeadlineExceeded, match="before this was begun"):
                await ask(service, asked, seconds=-1.0)

        assert (await ask(service, Describe())).version == 0


async def test_a_deadline_ends_the_wait_for_a_thread(tmp_path: Path) -> None:
    """What has begun goes on, and the caller is told so."""
    async with served(tmp_path) as service:
        await ask(service, create())
        collection = service._holding.known("a").collection
        with collection._state.writing, pytest.raises(DeadlineExceeded, match="may still be done"):
            await ask(service, upsert(5), seconds=0.05)

        while collection.version == 0:
            await ask(service, Fetch(ids=[]))
        assert (await ask(service, Describe())).total_vector_count == 5


# -- collections --------------------------------------------------------------------------------------------------


async def test_a_collection_that_is_not_named_is_the_only_one_or_the_settings(tmp_path: Path) -> None:
    """Else nobody knows which is meant, and the error tells which there are."""
    async with served(tmp_path) as service:
        with pytest.raises(NotFound, match="there is no 'default'; there are: none"):
            await ask(service, near(1))
        await ask(service, create("a"))
        assert (await ask(service, Describe())).collection == "a"
        await ask(service, create("b"))
        for asked in (near(1), Describe()):
            with pytest.raises(NotFound, match="there is no 'default'; there are: a, b"):
                await ask(service, asked)
        await ask(service, create("default"))
        await ask(service, upsert(3))

        assert (await ask(service, Describe())).collection == "default"
        assert ids(await ask(service, near(1)))[0] == "v1"


@pytest.mark.parametrize(
    ("asked", "kept"), [("dotproduct", "dot"), ("euclidean", "l2"), ("l2", "l2"), ("cosine", "cosine")]
)
async def test_metrics_have_the_names_that_callers_know(tmp_path: Path, asked: Any, kept: str) -> None:
    """Pinecone's beside ours; one is told."""
    async with served(tmp_path) as service:
        card = await ask(service, create(metric=asked))

        assert (card.metric, card.dimension, card.precision, card.records) == (kept, DIMENSIONS, "int8", 0)


async def test_a_reduction_learns_from_a_sample(tmp_path: Path) -> None:
    """Given when the collection is made; vectors and queries stay as long as they were."""
    async with served(tmp_path) as service:
        await ask(service, create(reduction="pca", kept=4, sample=vectors(50).tolist()))
        await ask(service, upsert(10))

        assert ids(await ask(service, near(4)))[0] == "v4"


async def test_collections_are_listed_and_dropped(tmp_path: Path) -> None:
    """A name may be used again, and nothing of the former one is found, not even its answers."""
    async with served(tmp_path) as service:
        await ask(service, create("b"))
        await ask(service, create("a", precision="fp16"))
        await ask(service, upsert(5, collection="a"))
        listed = (await ask(service, ListCollections())).collections
        assert [(one.name, one.precision, one.records) for one in listed] == [
            ("a", "fp16", 5),
            ("b", "int8", 0),
        ]
        first = await ask(service, near(1, collection="a"))
        assert service.hit(near(1, collection="a")) == first

        await ask(service, DropCollection(collection="a"))
        await ask(service, create("a"))
        await ask(service, upsert(5, first=50, collection="a"))

        assert service.hit(near(1, collection="a")) is None
        assert set(ids(await ask(service, near(1, collection="a")))) <= {f"v{50 + i}" for i in range(5)}


async def test_a_snapshot_is_a_collection_of_another_name(tmp_path: Path) -> None:
    """As it was; writes after it are not in it."""
    async with served(tmp_path) as service:
        await ask(service, create("a"))
        await ask(service, upsert(40))
        assert (await ask(service, Snapshot(name="monday"))).snapshots == {"a": ["monday"]}
        await ask(service, Delete(delete_all=True))
        assert (await ask(service, ListSnapshots())).snapshots == {"a": ["monday"]}
        with pytest.raises(NotFound, match="no snapshot 'tuesday' of collection 'a'; there are: monday"):
            await ask(service, Restore(collection="b", source="a", name="tuesday"))

        card = await ask(service, Restore(collection="b", source="a", name="monday"))

        assert (card.name, card.records) == ("b", 40)
        assert ids(await ask(service, near(3, collection="b")))[0] == "v3"
        with pytest.raises(InvalidRequest, match="has a snapshot 'monday'") as caught:
            await ask(service, Snapshot(collection="a", name="monday"))
        assert caught.value.param == "name"
        with pytest.raises(InvalidRequest, match=r"snapshot name '\.\./x'"):
            await ask(service, Snapshot(collection="a", name="../x"))


async def test_segments_are_joined_and_verified(tmp_path: Path) -> None:
    """One that was changed on disk is named, and the rest goes on."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(100))
        card = await ask(service, Compact())
        assert (card.records, (await ask(service, Describe())).details["segments"]) == (100, 1)
        assert (await ask(service, Verify())).damaged == {}
        await ask(service, upsert(1, first=500))

        codes = max((tmp_path / "a" / "segments").glob("*/*"), key=lambda file: file.stat().st_size)
        content = bytearray(codes.read_bytes())
        content[len(content) // 2] ^= 0xFF
        codes.write_bytes(content)

        damaged = (await ask(service, Verify())).damaged
        assert len(damaged) == 1
        assert ids(await ask(service, near(500))) == ["v500"]
        assert service.health()["status"] == "degraded"


async def test_a_collection_is_held_in_another_precision(tmp_path: Path) -> None:
    """Searches go on; so in shards."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(100))
        card = await ask(service, Reencode(precision="fp16"))
        assert card.precision == "fp16"
        assert ids(await ask(service, near(7)))[0] == "v7"
        await ask(service, Compact())
        assert (await ask(service, Describe())).details["precisions"] == {"fp16": 1.0}

        await ask(service, create("b", shards=2))
        assert (await ask(service, Reencode(collection="b", precision="fp16"))).precision == "fp16"


async def test_precisions_are_compared_on_the_collections_own_vectors(tmp_path: Path) -> None:
    """Fewer bytes, less recall; shards are refused, as is a collection of few records."""
    async with served(tmp_path) as service:
        await ask(service, create())
        with pytest.raises(InvalidRequest, match="holds 0 records; 1000 are the fewest"):
            await ask(service, ComparePrecisions())
        await ask(service, upsert(1200))
        found = await ask(service, ComparePrecisions(k=5))
        assert (found.current, found.k, found.rows) == ("int8", 5, 1080)
        levels = {level.precision: level for level in found.levels}
        assert set(levels) == {"fp32", "fp16", "bf16", "int8", "binary"}
        assert levels["fp32"].code_bytes > levels["fp16"].code_bytes >= levels["int8"].code_bytes
        assert levels["fp32"].recall > 0.9

        await ask(service, create("b", shards=2))
        with pytest.raises(InvalidRequest, match="b has shards"):
            await ask(service, ComparePrecisions(collection="b"))


async def test_a_collection_of_shards_is_used_as_any(tmp_path: Path) -> None:
    """Its answers are kept until it is written to; it is tuned and opened again like another."""
    async with served(tmp_path) as service:
        card = await ask(service, create(shards=3))
        assert card.shards == 3
        await ask(service, upsert(200))
        found = await ask(service, near(7, include_metadata=True))
        assert (ids(found)[0], found.matches[0].metadata, found.partial) == ("v7", {"n": 7}, False)
        assert service.hit(near(7, include_metadata=True)) == found
        await ask(service, Delete(ids=["v7"]))
        assert service.hit(near(7, include_metadata=True)) is None
        assert "v7" not in ids(await ask(service, near(7)))
        assert (await ask(service, Tune(recall=0.9, vectors=vectors(120, first=1000).tolist()))).applied

    async with served(tmp_path) as service:
        assert service.stats()["vectors"]["records"] == 199
        assert (await ask(service, DescribeCollection())).promise.startswith("recall@10 >= 0.9")


@pytest.mark.slow  # each of a thousand slots is safe on the disk before the next moves
async def test_shards_are_added_to_a_collection_in_use(tmp_path: Path) -> None:
    """What is asked meanwhile is answered, and no answer of before is taken for one of now."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(100))
        await ask(service, near(7))
        assert (await ask(service, Reshard(shards=1))).records_moved == 0
        asking = True

        async def keep_asking() -> int:
            answers = 0
            while asking:
                assert ids(await ask(service, near(7)))[0] == "v7"
                answers += 1
                await asyncio.sleep(0)  # answers from memory never wait, and others want the loop too
            return answers

        answers = asyncio.ensure_future(keep_asking())
        done = await ask(service, Reshard(shards=3))
        asking = False

        assert await answers > 0
        assert done.records_moved > 30
        assert (await ask(service, DescribeCollection())).shards == 3
        assert ids(await ask(service, near(8)))[0] == "v8"
        assert (await ask(service, Describe())).total_vector_count == 100


async def test_records_are_found_by_words_and_by_both(tmp_path: Path) -> None:
    """Of the text that was sent with them; by words alone the scores are those of the words."""
    pytest.importorskip("tantivy")
    async with served(tmp_path) as service:
        await ask(service, create())
        texts = ["a red kite", "a kite of paper", "bread of rye"]
        items = [VectorItem(f"v{i}", vector(i).tolist(), text=text) for i, text in enumerate(texts)]
        await ask(service, Upsert(vectors=items))

        words = await ask(service, Query(text="red kite", include_metadata=True))
        both = await ask(service, near(2, text="red kite"))

        assert ids(words) == ["v0", "v1"]
        assert words.matches[0].metadata == {"text": "a red kite"}
        assert words.matches[0].score > words.matches[1].score > 0.1
        assert set(ids(both)) == {"v0", "v1", "v2"}
        assert both.matches[0].score < 0.1
        assert ids(await ask(service, near(2, text="red kite", weights=(0.0, 1.0)))) == ["v0", "v1"]

        await ask(service, create("b", text_field=""))
        with pytest.raises(InvalidRequest) as caught:
            await ask(service, Query(collection="b", text="red kite"))
        assert caught.value.param == "text"
        await ask(service, create("c", shards=2))
        texted = [VectorItem(item.id, item.values, text=item.text) for item in items]
        await ask(service, Upsert(collection="c", vectors=texted))
        assert set(ids(await ask(service, Query(collection="c", text="red kite")))) == {"v0", "v1"}


# -- cache --------------------------------------------------------------------------------------------------------


async def test_an_answer_in_memory_is_given_until_something_is_written(tmp_path: Path) -> None:
    """Whatever it was: the collection's version is part of the answer's name."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(10))
        assert service.hit(near(1)) is None

        found = await ask(service, near(1))
        assert service.hit(near(1)) == found
        assert service.hit(near(1, top_k=4)) is None
        assert service.hit(near(1, vector=[1.0])) is None
        assert service.hit(near(1, collection="other")) is None
        await ask(service, Delete(ids=["v1"]))

        assert service.hit(near(1)) is None
        assert "v1" not in ids(await ask(service, near(1)))
        stats = service.stats()["vectors"]
        assert (stats["queries_total"], stats["cached_total"], stats["records"]) == (3, 1, 9)


async def test_without_a_cache_each_query_is_searched(tmp_path: Path) -> None:
    """As the settings of the cache may say."""
    async with served(tmp_path, cached=False) as service:
        await ask(service, create())
        await ask(service, upsert(10))
        await ask(service, near(1))

        assert service.hit(near(1)) is None
        assert ids(await ask(service, near(1)))[0] == "v1"


async def test_short_searches_run_where_they_are_asked(tmp_path: Path) -> None:
    """Once it is known that they are short; exact ones and wide ones never."""
    async with served(tmp_path, cached=False) as service:
        await ask(service, create())
        await ask(service, upsert(10))
        held = service._holding.known("a")
        assert held is not None
        assert not held.is_quick(held.asked(near(1)))

        held._means_s[False] = QUICK_S / 10
        assert held.is_quick(held.asked(near(1)))
        assert not held.is_quick(held.asked(near(1, filter={"n": 1})))
        assert not held.is_quick(held.asked(near(1, exact=True)))
        assert not held.is_quick(held.asked(near(1, ef=5000)))

        threads: list[str] = []
        search = held.collection.query

        def watched(*args: Any, **options: Any) -> Any:
            threads.append(threading.current_thread().name)
            return search(*args, **options)

        held.collection.query = watched  # type: ignore[method-assign]
        await ask(service, near(1))
        await ask(service, near(1, exact=True))
        assert threads[0] == threading.current_thread().name
        assert threads[1].startswith("vectors-read")


# -- recall -------------------------------------------------------------------------------------------------------


async def test_what_was_tuned_is_the_default_after_the_next_opening(tmp_path: Path) -> None:
    """A query's own words come first, then what was tuned, then the policy; more results than it was tuned for do not."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(200))
        await ask(service, Compact())
        tuned = await ask(service, Tune(recall=0.9, vectors=vectors(120, first=1000).tolist()))
        assert tuned.applied
        assert (tuned.queries, tuned.k, tuned.target) == (120, 10, 0.9)
        assert tuned.chosen in tuned.levels

    async with served(tmp_path) as service:
        held = service._holding.known("a")
        assert held is not None
        first = held.asked(near(1))
        assert (first.ef, first.candidates) == (tuned.chosen.ef, tuned.chosen.candidates)
        assert held.asked(near(1, ef=77)).ef == 77
        assert held.asked(near(1, top_k=11)).ef == SMALL.search.ef
        card = await ask(service, DescribeCollection())
        assert (card.ef, card.candidates) == (tuned.chosen.ef, tuned.chosen.candidates)
        assert card.promise == "recall@10 >= 0.9 with 95.0% confidence: not checked yet"
        assert service.health()["promises"] == {"a": card.promise}


async def test_tuning_may_only_look(tmp_path: Path) -> None:
    """Without `apply`, or without a setting that is sure to hold, all stays as it was."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(200))
        await ask(service, Compact())
        queries = vectors(120, first=1000).tolist()

        looked = await ask(service, Tune(recall=0.9, vectors=queries, apply=False))
        beyond = await ask(service, Tune(recall=0.99999, vectors=queries))

        assert (looked.chosen is not None, looked.applied) == (True, False)
        assert (beyond.chosen, beyond.applied) == (None, False)
        assert (await ask(service, DescribeCollection())).promise == ""


async def test_queries_asked_last_are_what_is_tuned_on(tmp_path: Path) -> None:
    """Of the namespace that is tuned; too few of them are told with their number."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(200, namespace="space"))
        for seed in range(110):
            await ask(service, near(1000 + seed, namespace="space"))

        with pytest.raises(InvalidRequest, match="0 queries were asked in namespace ''") as caught:
            await ask(service, Tune(recall=0.9))
        assert caught.value.param == "vectors"
        assert (await ask(service, Tune(recall=0.9, namespace="space"))).queries == 110


async def test_a_promise_is_checked_and_tuned_anew_when_it_breaks(tmp_path: Path) -> None:
    """After a write, on the queries asked last; what holds it then is the default, and is kept."""
    async with served(tmp_path, msgspec.structs.replace(SMALL, recheck_s=1.0)) as service:
        await ask(service, create())
        await ask(service, upsert(400))
        await ask(service, Compact())
        await ask(service, Tune(recall=0.9, vectors=vectors(120, first=1000).tolist()))
        held = service._holding.known("a")
        assert held is not None
        await service.check_promises()
        assert held.recall.text().endswith("too few queries to check it")

        for seed in range(110):
            await ask(service, near(1000 + seed))
        held.recall._watch._next_at = 0.0  # as if `recheck_s` were over
        await service.check_promises()
        assert ": holds, " in held.recall.text()

        held.recall._watch._ef, held.recall._watch._candidates = (
            1,
            10,
        )  # as if records had changed too much for it
        held.recall._watch._next_at = 0.0
        await ask(service, upsert(1, first=900))
        await service.check_promises()
        checked = service.stats()["vectors"]

        assert checked["checks_total"] == 3
        assert checked["recall_bound"] >= 0.9
        assert held.recall.kept is not None
        assert held.recall.kept.ef > 1


# -- settings, state, end -----------------------------------------------------------------------------------------


async def test_another_policy_is_in_force_at_once(tmp_path: Path) -> None:
    """For open collections and for those that are opened later."""
    async with served(tmp_path) as service:
        await ask(service, create())

        service.apply(
            msgspec.structs.replace(SMALL, search=SearchPolicy(ef=55, candidates=11), recheck_s=9.0)
        )
        await ask(service, create("b"))

        for card in (await ask(service, ListCollections())).collections:
            assert (card.ef, card.candidates) == (55, 11)


async def test_a_folder_has_one_server(tmp_path: Path) -> None:
    """The second is told who has it, and the first goes on."""
    async with served(tmp_path) as service:
        await ask(service, create())

        with pytest.raises(FolderInUse, match="is open in process"):
            async with served(tmp_path):
                raise AssertionError("opened twice")

        assert (await ask(service, upsert(5))).upserted_count == 5


async def test_a_collection_that_cannot_be_opened_does_not_keep_others_from_being_served(
    tmp_path: Path,
) -> None:
    """It is told by `/health`, and by every call that names it."""
    async with served(tmp_path) as service:
        await ask(service, create("a"))
        await ask(service, create("b"))
    (tmp_path / "a" / "manifest.json").write_text("{}")

    async with served(tmp_path) as service:
        health = service.health()
        assert (health["status"], health["collections"]) == ("degraded", 1)
        assert "manifest.json" in health["troubles"]["a"]
        assert [one.name for one in (await ask(service, ListCollections())).collections] == ["b"]
        with pytest.raises(PacelineError, match="restore a snapshot"):
            await ask(service, near(1, collection="a"))
        with pytest.raises(NotFound):  # two there are, and none is named `default`
            await ask(service, near(1))


async def test_what_was_acknowledged_is_there_after_the_end(tmp_path: Path) -> None:
    """Even if the log is synced now and then only."""
    late = msgspec.structs.replace(
        SMALL, durability=msgspec.structs.replace(SMALL.durability, fsync="interval", interval_ms=60_000)
    )
    async with served(tmp_path, late) as service:
        await ask(service, create())
        await ask(service, upsert(10))

    async with served(tmp_path, late) as service:
        assert (await ask(service, Describe())).total_vector_count == 10


async def test_the_end_does_not_wait_for_what_takes_minutes(tmp_path: Path) -> None:
    """Tuning that runs is given up."""
    service: LocalVectors
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(300))
        queries = vectors(1000, first=1000).tolist()
        with pytest.raises(DeadlineExceeded):
            await ask(service, Tune(recall=0.99, vectors=queries), seconds=0.01)
        began = time.monotonic()

    assert time.monotonic() - began < 2.0

"""The way of a query: what it may look like, the memory that may answer it, and the thread that searches."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collections_of import DIMENSIONS, vector
from served import ask, create, ids, near, served, upsert

from paceline.base.errors import InvalidRequest, NotFound
from paceline.base.vectors_records import Delete, Fetch, Query, Upsert, VectorItem
from paceline.vectors.held import QUICK_S

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Cache tiers are asyncio's."""
    return "asyncio"


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

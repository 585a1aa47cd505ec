"""What is asked of one collection, but searches, is done at once for the next who asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from collections_of import vector
from served import ask, create, ids, near, served, upsert

from paceline.base.errors import InvalidRequest
from paceline.base.vectors_collections import Compact, ComparePrecisions, Describe, Reencode, Verify
from paceline.base.vectors_records import Delete, Fetch, ListIds, Update

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Cache tiers are asyncio's."""
    return "asyncio"


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

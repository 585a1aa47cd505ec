"""Snapshots are kept by collection and name."""

from __future__ import annotations

from pathlib import Path

import pytest
from served import ask, create, ids, near, served, upsert

from paceline.base.errors import InvalidRequest, NotFound
from paceline.base.vectors_collections import ListSnapshots, Restore, Snapshot
from paceline.base.vectors_records import Delete

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Cache tiers are asyncio's."""
    return "asyncio"


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

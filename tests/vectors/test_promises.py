"""A recall is tuned for, kept as the default, and checked as records change."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from collections_of import SMALL, vectors
from served import ask, create, near, served, upsert

from paceline.base.errors import InvalidRequest
from paceline.base.vectors_collections import Compact, DescribeCollection, Tune

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Cache tiers are asyncio's."""
    return "asyncio"


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
        assert held.asked(near(1, top_k=11)).ef == held.collection.default_ef
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

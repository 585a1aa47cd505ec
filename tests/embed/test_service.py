"""The service: one path, one run per text, one failure never somebody else's; on virtual time with a lane we can hold."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from paceline.base.api import EmbedRequest, ModelCard
from paceline.base.errors import (
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PayloadTooLarge,
)
from paceline.embed.compute import Compute
from paceline.embed.folder import open_folder
from paceline.embed.lane import Row
from paceline.embed.service import EmbedService
from paceline.embed.tokens import Tokens
from paceline.flow.cache.policy import CachePolicy
from paceline.flow.cache.tiers import open_tiers

RUN_S = 1.0
FAR = 1e6


class HeldLane:
    """A lane whose vectors spell the ids, and whose runs take `RUN_S` of virtual time."""

    def __init__(self):
        self.runs = []
        self.cancelled = 0
        self.admissions = []
        self.refuse = None
        self.fail = None

    async def admit(self, lengths, *, priority, deadline_at):
        self.admissions.append((list(lengths), priority))
        if self.refuse:
            refusal, self.refuse = self.refuse, None
            raise refusal

    def check(self, lengths, *, priority, deadline_at):
        if self.refuse:
            raise self.refuse

    async def run(self, ids, *, priority, deadline_at):
        self.runs.append(ids.tolist())
        try:
            await asyncio.sleep(RUN_S)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fail:
            raise self.fail
        vector = np.zeros(8, "<f4")
        vector[: min(8, len(ids))] = ids[:8]
        return Row(vector.tobytes(), 0.25, 0.0, RUN_S, 2)

    def stats(self):
        return {}

    def health(self):
        return {"status": "ok"}


@pytest.fixture
def lane():
    return HeldLane()


@pytest.fixture
def service(virtual_loop, lane, make_folder):
    return make_service(virtual_loop, lane, make_folder)


def make_service(loop, lane, make_folder, *, cache=True, **fields):
    tokens = Tokens(open_folder(make_folder("bert")))
    tiers = open_tiers(CachePolicy(), clock=loop.time) if cache else None
    card = ModelCard(id="tiny", created=0, dimensions=8, max_tokens=tokens.max_tokens)
    return EmbedService(
        card=card,
        fingerprint=b"tiny",
        compute=Compute(tokens, lane, clock=loop.time),
        cache=tiers,
        ttl_s=100.0,
        clock=loop.time,
        **fields,
    )


def ask(service, given, deadline_at=FAR, **fields):
    return service.embed(EmbedRequest(input=given, **fields), deadline_at=deadline_at)


def test_texts_come_back_in_order_with_their_tokens_counted(service, run_virtual, lane):
    result = run_virtual(ask(service, ["w1", "w2 w3"]))

    assert [lane.runs[0][:3], lane.runs[1][:4]] == [
        row[row > 0].astype(int).tolist() for row in result.array()
    ]
    assert 3 + 4 == result.tokens
    assert "miss" == result.timings.cache
    assert (0.25, RUN_S, 2) == (result.timings.queue_s, result.timings.run_s, result.timings.batch_rows)


def test_what_was_computed_is_a_hit_and_runs_nothing(service, run_virtual, lane):
    request = EmbedRequest(input=["w1", "w2"])
    assert service.hit(request) is None
    first = run_virtual(service.embed(request, deadline_at=FAR))
    second = service.hit(request)

    assert first.vectors == second.vectors
    assert "l1" == second.timings.cache
    assert 2 == len(lane.runs)


def test_only_missing_texts_are_admitted_tokenised_and_run(service, run_virtual, lane):
    run_virtual(ask(service, ["w1", "w2"]))
    result = run_virtual(ask(service, ["w1", "w3", "w2"]))

    assert 3 == len(lane.runs)
    assert [2, 1] == [len(lengths) for lengths, _ in lane.admissions]
    assert "miss" == result.timings.cache


def test_a_thousand_callers_of_one_text_are_one_run(service, run_virtual, lane):
    async def crowd():
        return await asyncio.gather(*(ask(service, "w7") for _ in range(1000)))

    results = run_virtual(crowd())

    assert 1 == len(lane.runs)
    assert 1 == len({result.vectors[0] for result in results})
    assert {"miss", "flight"} == {result.timings.cache for result in results}


def test_a_caller_who_leaves_takes_the_run_along_unless_somebody_shares_it(service, run_virtual, lane):
    async def leave():
        first = asyncio.ensure_future(ask(service, "w1"))
        second = asyncio.ensure_future(ask(service, "w1"))
        alone = asyncio.ensure_future(ask(service, "w2"))
        await asyncio.sleep(RUN_S / 2)
        first.cancel()
        alone.cancel()
        return await second

    result = run_virtual(leave())

    assert 1 == len(result.vectors)
    assert 1 == lane.cancelled
    assert 2 == len(lane.runs)


def test_the_deadline_ends_the_wait_and_the_run(service, run_virtual, lane):
    with pytest.raises(DeadlineExceeded, match="deadline"):
        run_virtual(ask(service, "w1", deadline_at=RUN_S / 2))

    assert 1 == lane.cancelled


def test_sharing_a_flight_that_is_refused_is_not_a_refusal(service, run_virtual, lane):
    """The first caller's deadline may be hopeless and the second's not."""

    lane.refuse = Overloaded("full: 9 jobs wait; try later", retry_after_s=1.0)

    async def two():
        return await asyncio.gather(ask(service, "w1"), ask(service, "w1"), return_exceptions=True)

    first, second = run_virtual(two())

    assert isinstance(first, Overloaded)
    assert 1 == len(second.vectors)
    assert 2 == len(lane.admissions)


def test_a_certain_refusal_is_known_at_once_and_an_uncertain_one_is_not(service, run_virtual, lane):
    run_virtual(ask(service, "w1"))
    lane.refuse = Overloaded("full: 9 jobs wait; try later", retry_after_s=1.0)

    with pytest.raises(Overloaded):
        service.check(EmbedRequest(input=["w1", "w2"]), deadline_at=FAR)

    lane.refuse = None

    async def shared():
        first = asyncio.ensure_future(ask(service, "w3"))
        await asyncio.sleep(RUN_S / 2)
        lane.refuse = Overloaded("full: 9 jobs wait; try later", retry_after_s=1.0)
        service.check(EmbedRequest(input="w3"), deadline_at=FAR)  # another caller's run will bring it
        return await first

    assert 1 == len(run_virtual(shared()).vectors)


def test_an_engines_fault_reaches_the_caller_and_is_not_kept(service, run_virtual, lane):
    lane.fail = EngineError("the engine failed on a batch of 1 x 8 tokens: broken")
    with pytest.raises(EngineError):
        run_virtual(ask(service, "w1"))
    lane.fail = None

    assert 1 == len(run_virtual(ask(service, "w1")).vectors)


def test_one_bad_text_fails_the_request_before_anything_runs(service, run_virtual, lane):
    with pytest.raises(InvalidRequest) as raised:
        run_virtual(ask(service, ["w1", "", "w2"]))

    assert "input[1]" == raised.value.param
    assert [] == lane.runs


def test_without_a_cache_every_text_runs_and_says_bypass(virtual_loop, run_virtual, lane, make_folder):
    service = make_service(virtual_loop, lane, make_folder, cache=False)
    run_virtual(ask(service, "w1"))
    result = run_virtual(ask(service, "w1"))

    assert "bypass" == result.timings.cache
    assert 2 == len(lane.runs)


@pytest.mark.parametrize(("normalize", "same"), [("none", False), ("space", True), ("space+case", True)])
def test_texts_that_differ_in_what_is_folded_are_one(
    virtual_loop, run_virtual, lane, make_folder, normalize, same
):
    service = make_service(virtual_loop, lane, make_folder, normalize=normalize)
    run_virtual(ask(service, "w1 w2"))
    run_virtual(ask(service, "  w1\n\tw2 "))

    assert (1 if same else 2) == len(lane.runs)


def test_texts_and_token_ids_never_meet_in_the_cache(service, run_virtual, lane):
    run_virtual(ask(service, [5, 6]))
    run_virtual(ask(service, [[5, 6], [5]]))
    run_virtual(ask(service, "56"))

    assert 3 == len(lane.runs)


def test_priorities_travel_with_the_request(service, run_virtual, lane):
    for priority in ("high", "normal", "low"):
        run_virtual(ask(service, f"w1 {priority}", priority=priority))

    assert [0, 1, 2] == [priority for _, priority in lane.admissions]


def test_dimensions_are_cut_after_the_cache_and_normalised(service, run_virtual, lane):
    whole = run_virtual(ask(service, "w1")).array()[0]
    cut = run_virtual(ask(service, "w1", dimensions=2)).array()[0]

    assert 1 == len(lane.runs)
    assert np.allclose(whole[:2] / np.linalg.norm(whole[:2]), cut)


@pytest.mark.parametrize(
    ("request_", "error", "word"),
    [
        (EmbedRequest(input=[]), InvalidRequest, "empty"),
        (EmbedRequest(input=["w1", 5]), InvalidRequest, "kind"),
        (EmbedRequest(input=[5, "w1"]), InvalidRequest, "kind"),
        (EmbedRequest(input=["w1"] * 2049), PayloadTooLarge, "2048"),
        (EmbedRequest(input="w1", model="other"), NotFound, "tiny"),
        (EmbedRequest(input="w1", dimensions=9), InvalidRequest, "8"),
        (EmbedRequest(input="w1 " * 500, truncate=False), PayloadTooLarge, "truncate"),
        (EmbedRequest(input=[[5, 10**6]]), InvalidRequest, "1000000"),
    ],
)
def test_wrong_input_names_the_value_the_limit_and_the_way_out(
    service, run_virtual, lane, request_, error, word
):
    with pytest.raises(error, match=word):
        run_virtual(service.embed(request_, deadline_at=FAR))

    assert [] == lane.runs


def test_what_was_cut_is_reported_also_from_the_cache(service, run_virtual, lane):
    long = "w1 " * 500
    first = run_virtual(ask(service, ["w2", long]))
    second = service.hit(EmbedRequest(input=["w2", long]))

    assert [1] == first.truncated == second.truncated
    with pytest.raises(PayloadTooLarge):
        service.hit(EmbedRequest(input=long, truncate=False))


def test_admission_estimates_lengths_without_tokenising(service, run_virtual, lane):
    run_virtual(ask(service, "w1 w2 w3 w4"))
    (lengths, _), *_ = lane.admissions

    assert 1 <= lengths[0] <= 12

"""Workers on real sockets against a real server in another process."""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise

import pytest
from driving import chat, closed_plan, drive, failures, open_plan, trusting
from servers import serving

from paceline.measure.failure import Failure
from paceline.measure.plan import ClosedLoop, Expect, OpenLoop, Payload, Plan, Stage, Stopping, Target
from paceline.measure.records.record import Tier

ENDS = ["ok", "chunked", "close_delimited", "interim", "slow_head"]


@pytest.mark.parametrize("behaviour", ENDS)
@pytest.mark.parametrize("split", [False, True])
def test_every_way_to_end_an_answer_is_understood(behaviour, split):
    with serving(behaviour, split=split) as server:
        run = drive(closed_plan(server.url, requests=10))

        assert failures(run) == {"none": 10}
        assert server.requests_seen == 10
    assert sorted(run.columns.index) == list(range(10))
    assert set(run.columns.status) == {200}


@pytest.mark.parametrize("code", [204, 304])
def test_answers_without_a_body_end_with_their_head(code):
    with serving("status", status=code) as server:
        run = drive(closed_plan(server.url, requests=6, expect=Expect(status=(code,))))

    assert failures(run) == {"none": 6}


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("reset", "reset"),
        ("closes", "closed"),
        ("half", "closed"),
        ("half_chunked", "closed"),
        ("garbage", "malformed"),
        ("huge_header", "too_large"),
        ("endless_header", "too_large"),
        ("refuses", "refused"),
        ("hang", "timeout"),
        ("stalls", "timeout"),
    ],
)
def test_every_failure_is_counted_by_its_kind(behaviour, kind):
    with serving(behaviour) as server:
        run = drive(closed_plan(server.url, requests=4, timeout_s=0.3))

    assert failures(run) == {kind: 4}
    assert run.ends[0].ended == "complete"


def test_a_server_that_accepts_nobody_is_unreachable_in_time():
    with serving("deaf") as server:
        run = drive(open_plan(server.url, rate=20, timeout_s=0.3))

    assert set(failures(run)) <= {"unreachable", "timeout"}
    assert len(run.columns) == 10


def test_statuses_are_kept_and_the_unexpected_are_failures():
    with serving("alternating") as server:
        run = drive(closed_plan(server.url, requests=10, users=1))

    assert failures(run) == {"none": 5, "status": 5}
    assert list(run.columns.status) == [200, 500] * 5


def test_an_expected_status_is_no_failure():
    with serving("status", status=404) as server:
        run = drive(closed_plan(server.url, requests=4, expect=Expect(status=(404,))))

    assert failures(run) == {"none": 4}


@pytest.mark.parametrize("announce", [False, True])
def test_a_server_that_closes_now_and_then_loses_no_request(announce):
    with serving("ok", close_after=3, announce=announce) as server:
        run = drive(closed_plan(server.url, requests=30, users=2))

        assert failures(run) == {"none": 30}
        assert server.seen().connections >= 10


def test_a_server_that_dies_is_told_apart_from_one_that_answers():
    with serving("ok", die_after=5) as server:
        run = drive(closed_plan(server.url, requests=9, users=1))

    told = failures(run)
    assert told.pop("none") == 5
    assert set(told) <= {"closed", "reset", "refused"}
    assert sum(told.values()) == 4


def test_without_keep_alive_every_request_has_a_connection_of_its_own():
    with serving("ok") as server:
        run = drive(closed_plan(server.url, requests=8, users=2, keep_alive=False))

        assert failures(run) == {"none": 8}
        assert server.seen().connections == 8


def test_the_open_loop_keeps_its_schedule_whatever_the_server_does():
    with serving("ok", freeze_ms=300, freeze_every_s=0.6) as server:
        run = drive(open_plan(server.url, rate=200, seconds=1.0, timeout_s=5))

    columns = run.columns
    gaps_ns = {later - earlier for earlier, later in pairwise(columns.intended_ns)}
    assert failures(run) == {"none": 200}
    assert gaps_ns == {5_000_000}
    # Latency counts from the intended start: whoever fell into the freeze waited for its end.
    waited = [last - intended for last, intended in zip(columns.last_ns, columns.intended_ns, strict=True)]
    assert sum(ns > 100_000_000 for ns in waited) >= 30
    assert all(sent >= intended for sent, intended in zip(columns.sent_ns, columns.intended_ns, strict=True))


def test_workers_share_a_schedule_and_send_it_once():
    with serving("ok") as server:
        alone = drive(open_plan(server.url, rate=300, process="poisson", seed=7))
        shared = drive(open_plan(server.url, rate=300, process="poisson", seed=7, workers=3))

    assert alone.columns.intended_ns == shared.columns.intended_ns
    assert list(shared.columns.index) == list(range(len(shared.columns)))
    assert [end.worker for end in shared.ends] == [0, 1, 2]


def test_requests_without_a_free_connection_wait_and_that_shows_as_lag():
    with serving("ok", delay_ms=100) as server:
        run = drive(open_plan(server.url, rate=100, seconds=0.3, max_connections=2))

    late_ns = max(s - i for s, i in zip(run.columns.sent_ns, run.columns.intended_ns, strict=True))
    assert failures(run) == {"none": 30}
    assert late_ns > 500_000_000
    assert run.ends[0].connections == 2
    assert max(run.ends[0].lag) > 0


def test_users_think():
    with serving("ok") as server:
        run = drive(closed_plan(server.url, requests=6, users=2, think_s=0.2))

    columns = run.columns
    mine = sorted(zip(columns.intended_ns, columns.last_ns, strict=True))
    assert columns.intended_ns[2] >= 200_000_000
    assert mine[-1][0] >= 400_000_000


def test_users_come_and_go_with_the_stages():
    load = ClosedLoop((Stage(0.3, 1), Stage(0.3, 4), Stage(0.3, 1)), think_s=0.01)
    with serving("ok", delay_ms=5) as server:
        run = drive(Plan(target=Target(url=server.url), load=load))

        assert server.seen().most_open == 4
    stages = list(run.columns.stage)
    assert stages == sorted(stages)
    counts = [stages.count(stage) for stage in range(3)]
    assert counts[1] > 2 * max(counts[0], counts[2])


def test_a_time_limit_ends_what_is_in_flight_as_timed_out():
    with serving("hang") as server:
        run = drive(open_plan(server.url, rate=20, seconds=10, stopping=Stopping(time_limit_s=0.5)))

    told = failures(run)
    assert run.ends[0].ended == "time_limit"
    assert told["timeout"] >= 9
    assert told.get("unreachable", 0) <= 1  # the last was still connecting


def test_an_order_to_stop_awaits_the_answers():
    def stop(crew, news):
        if news[-1].sent:
            crew.stop("enough")

    with serving("ok", delay_ms=200) as server:
        run = drive(open_plan(server.url, rate=50, seconds=30), stop)

    assert (run.ends[0].ended, run.ends[0].ended_because) == ("stopped", "enough")
    assert set(failures(run)) == {"none"}
    assert 0 < len(run.columns) < 1000


def test_an_order_to_end_forgets_what_is_in_flight():
    def end(crew, news):
        if news[-1].in_flight == 2:
            crew.end("interrupted by hand")

    with serving("hang") as server:
        run = drive(closed_plan(server.url, users=2), end)

    assert (run.ends[0].ended, run.ends[0].ended_because) == ("interrupted", "interrupted by hand")
    assert len(run.columns) == 0


def test_a_killed_worker_leaves_what_it_had_written():
    pids = []

    def kill(crew, news):
        if news[-1].done > 20 and not pids:
            pids.extend(member.pid for member in crew._members.values())
            os.kill(pids[0], signal.SIGKILL)

    with serving("ok") as server, pytest.raises(AssertionError):
        # `drive` asserts that nobody broke; what is on disk is read in test_session.
        drive(open_plan(server.url, rate=100, seconds=30), kill)

    assert pids


@pytest.mark.parametrize("insecure", [False, True])
def test_tls_with_a_certificate_it_trusts_or_need_not_trust(insecure):
    with serving("ok", tls=True) as server:
        plan = closed_plan(server.url, requests=6)
        if insecure:
            plan = Plan(target=Target(url=server.url, insecure=True), load=plan.load)
        else:
            plan = trusting(plan, server.ca_file)
        run = drive(plan)

    assert failures(run) == {"none": 6}


def test_a_certificate_it_does_not_trust_is_a_tls_failure():
    with serving("ok", tls=True) as server:
        run = drive(closed_plan(server.url, requests=3))

    assert failures(run) == {"tls": 3}


def test_streams_are_timed_token_by_token():
    with serving("sse", tokens=5, first_ms=60, gap_ms=30) as server:
        run = drive(closed_plan(server.url + "v1/chat/completions", requests=2, users=1, payload=chat()))

    columns, tokens = run.columns, run.tokens
    assert failures(run) == {"none": 2}
    assert list(columns.completion_tokens) == [5, 5]
    assert list(columns.token_events) == [5, 5]
    assert len(tokens) == 2
    for request in range(2):
        times = tokens.times_ns[tokens.start[request] : tokens.start[request + 1]]
        assert times[0] - columns.sent_ns[request] >= 60_000_000
        assert times[-1] - columns.sent_ns[request] >= 178_000_000
        assert times[-1] <= columns.last_ns[request] + 1_000  # instants of tokens are kept to the microsecond


@pytest.mark.parametrize(
    ("option", "kind"), [({"die_at": 3}, "reset"), ({"end_at": 3}, "stream"), ({"error_at": 3}, "stream")]
)
def test_a_stream_that_breaks_is_a_failure(option, kind):
    with serving("sse", **option) as server:
        run = drive(closed_plan(server.url + "v1/chat/completions", requests=3, payload=chat()))

    assert failures(run) == {kind: 3}


def test_what_should_be_json_and_is_not_is_a_failure():
    with serving("not_json") as server:
        run = drive(closed_plan(server.url, requests=3, expect=Expect(json=True)))

    assert failures(run) == {"not_json": 3}


def test_embeddings_tell_their_usage():
    with serving("sse") as server:
        plan = closed_plan(
            server.url + "v1/embeddings", requests=3, payload=Payload(task="embeddings", model="m")
        )
        run = drive(plan)

    assert failures(run) == {"none": 3}
    assert set(run.columns.prompt_tokens) == {5}
    assert set(run.columns.tier) == {Tier.UNKNOWN}


def test_large_bodies_are_sent_whole(tmp_path):
    body = tmp_path / "bodies.jsonl"
    body.write_text('"%s"\n' % ("x" * 3_000_000))
    with serving("ok") as server:
        plan = closed_plan(server.url, requests=3, payload=Payload(body_file=str(body)))
        run = drive(plan)

        assert failures(run) == {"none": 3}
        assert [len(first["body"]) for first in server.seen().first] == [3_000_002] * 3


def test_seconds_instead_of_rows_count_the_same():
    with serving("sse", tokens=3) as server:
        plan = open_plan(server.url + "v1/chat/completions", rate=50, seconds=1.2, payload=chat())
        run = drive(Plan(target=plan.target, load=plan.load, payload=plan.payload, records="histogram"))

    assert len(run.columns) == 0
    assert sum(second.done for second in run.seconds) == 60
    assert sum(second.completion_tokens for second in run.seconds) == 180
    assert sum(sum(second.ttft.values()) for second in run.seconds) == 60
    assert {second.at_s for second in run.seconds} == {0, 1}


@pytest.mark.skipif(sys.platform != "linux", reason="needs SO_TIMESTAMPNS")
def test_the_kernel_tells_when_an_answer_came():
    with serving("ok", delay_ms=20) as server:
        kernel = drive(open_plan(server.url, rate=50, seconds=0.4, timestamps="kernel"))
        user = drive(open_plan(server.url, rate=50, seconds=0.4, timestamps="user"))

    for run, where in ((kernel, "kernel"), (user, "user")):
        waited = [last - sent for last, sent in zip(run.columns.last_ns, run.columns.sent_ns, strict=True)]
        assert run.ends[0].timestamps == where
        assert min(waited) >= 20_000_000
        assert min(waited) < 200_000_000


def test_a_ramp_to_many_requests_needs_no_warm_connections():
    load = OpenLoop((Stage(0.5, 200, start=0),), process="constant")
    with serving("ok") as server:
        run = drive(Plan(target=Target(url=server.url), load=load))

    assert failures(run) == {"none": 50}
    assert not any(kind == Failure.UNSENT for kind in run.columns.failure)

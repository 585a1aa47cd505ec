"""A trace ready to be replayed: in order, from 0, for the task at hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import ConfigError
from paceline.measure.load.trace import load_trace
from paceline.measure.plan import OpenLoop, Payload, Plan, Replay, Stage, Target

SECOND = 1_000_000_000
LOG = (
    '{"at":10.0,"method":"GET","path":"/health","status":200,"duration_ms":1,"request_id":"a"}\n'
    '{"at":12.0,"method":"POST","path":"/v1/infer","status":200,"duration_ms":1,"request_id":"b","rows":2,"prompt_tokens":6}\n'
    '{"at":11.0,"method":"POST","path":"/v1/embeddings","status":503,"duration_ms":1,"request_id":"c"}\n'
)


@pytest.fixture
def load(tmp_path):
    """Write a trace and load it for a task."""

    def make(content, task="embeddings", url="http://h", **payload):
        file = tmp_path / "t.log"
        file.write_text(content)
        plan = Plan(Target(url), Replay(str(file)), payload=Payload(task, **payload))
        return load_trace(plan)

    return make


def test_other_loads_have_no_trace():
    assert load_trace(Plan(Target("http://h"), OpenLoop((Stage(1, 1),)))) is None


def test_an_access_log_is_replayed_by_its_task_in_the_order_of_arrival(load):
    made = load(LOG)

    assert list(made.at_ns) == [0, SECOND]
    assert [(made.shapes[one].rows, made.shapes[one].words) for one in made.request] == [(1, 16), (2, 6)]
    assert made.notes == (
        "t.log: 1 of 3 lines left out, no POST to /v1/embeddings or /v1/infer",
        "t.log: 1 lines were earlier than the one before; sorted by time",
    )


def test_plain_http_cannot_replay_a_log_without_bodies_but_with_one_of_the_users(load):
    with pytest.raises(
        ConfigError, match="has a POST to /v1/infer without its body; give a body, or take the task"
    ):
        load(LOG, "http")
    made = load(LOG, "http", body='{"input": "a"}')

    assert [(made.shapes[one].method, made.shapes[one].path) for one in made.request] == [
        ("GET", "/health"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/infer"),
    ]
    assert [made.shapes[one].bodyless for one in made.request] == [True, False, False]


def test_lines_of_the_targets_own_path_belong_to_the_task(load):
    made = load("at_s,path\n0,/mine\n1,/v1/chat/completions\n2,/other\n", "chat", "http://h/mine?x")

    assert list(made.at_ns) == [0, SECOND]


def test_a_trace_of_another_task_is_refused(load):
    with pytest.raises(ConfigError, match=r"has no POST to /v1/completions, which task completions sends"):
        load(LOG, "completions")


def test_head_requests_are_left_out(load):
    made = load("at_s,method\n0,HEAD\n1,GET\n", "http")

    assert (list(made.at_ns), made.notes) == (
        [0],
        ("t.log: 1 of 2 lines left out, no request with a body in its answer",),
    )


def test_requests_of_one_length_take_turns_among_the_distinct_ones(load):
    made = load("at_s,prompt_tokens\n0,3\n1,3\n2,5\n3,3\n4,5\n", distinct=2)

    assert list(made.request) == [0, 1, 2, 0, 3]
    assert [(shape.words, shape.turn) for shape in made.shapes] == [(3, 0), (3, 1), (5, 0), (5, 1)]


def test_what_the_task_does_not_use_makes_no_difference(load):
    """Answers of embeddings have no length."""
    made = load("at_s,prompt_tokens,max_tokens\n0,3,1\n1,3,2\n2,3,3\n", distinct=2)

    assert list(made.request) == [0, 1, 0]


def test_lengths_of_zero_are_sent_as_one_and_noted(load):
    made = load("at_s,prompt_tokens,max_tokens\n0,0,0\n", "chat")

    assert (made.shapes[0].words, made.shapes[0].max_tokens) == (1, 1)
    assert made.notes == ("t.log: lengths of 0 are sent as 1",)


def test_recorded_bodies_must_fit_the_task_and_stand_alone(load):
    with pytest.raises(ConfigError, match=r"a body of t.log is not JSON"):
        load("at_s,body\n0,text\n", "chat")
    with pytest.raises(ConfigError, match="bodies and the plan has too"):
        load('at_s,body\n0,"{}"\n', "chat", body="{}")
    with pytest.raises(ConfigError, match="asks for a stream"):
        load('{"at_s": 0, "body": {"stream": true}}', "chat")


def test_more_prompts_than_memory_holds_are_refused(load):
    lines = "".join(f"{number},100000\n" for number in range(2001))

    assert load(f"at_s,prompt_tokens\n{lines}") is not None
    with pytest.raises(
        ConfigError, match=r"asks for 200,100,000 words of different prompts, .* cut the trace"
    ):
        load(f"at_s,prompt_tokens\n{lines}", distinct=10_000)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_arrivals_start_at_zero_ascend_and_keep_their_gaps(tmp_path_factory, times):
    file = tmp_path_factory.mktemp("t") / "t.csv"
    file.write_text("\n".join(["at_ms,path", *(f"{at},/{at}" for at in times)]))
    made = load_trace(Plan(Target("http://h"), Replay(str(file))))

    ordered = sorted(times)
    assert list(made.at_ns) == [(at - ordered[0]) * 1_000_000 for at in ordered]
    assert [made.shapes[one].path for one in made.request] == [f"/{at}" for at in ordered]
    assert any("sorted" in note for note in made.notes) == any(b < a for a, b in pairwise(times))

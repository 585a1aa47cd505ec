"""Bodies: the user's own as they are, an AI task's in the shape its API takes."""

from __future__ import annotations

import msgspec
import pytest

from paceline.base.errors import ConfigError
from paceline.measure.load.bodies import bodies, one_each
from paceline.measure.load.trace import load_trace
from paceline.measure.plan import ClosedLoop, OpenLoop, Payload, Plan, Replay, Stage, Target


def make(payload, *, seed=1, trace=None):
    load = OpenLoop((Stage(1, 1),)) if trace is None else Replay(str(trace))
    plan = Plan(Target("http://h"), load, payload=payload, seed=seed)
    return bodies(plan, load_trace(plan))


def read(made):
    return [msgspec.json.decode(body) for body in made]


# -- made by us -------------------------------------------------------------------------------------------------------


def test_an_embeddings_body_is_one_text():
    (body,) = read(make(Payload("embeddings", distinct=1, prompt_words=5)))

    assert list(body) == ["input"]
    assert len(body["input"].split()) == 5


def test_a_completions_body_has_a_prompt_and_a_limit():
    (body,) = read(make(Payload("completions", model="m", distinct=1, prompt_words=7, max_tokens=9)))

    assert (body["model"], len(body["prompt"].split()), body["max_tokens"]) == ("m", 7, 9)
    assert "stream" not in body


def test_a_chat_body_has_one_message_of_the_user_and_asks_for_usage_when_streamed():
    (body,) = read(make(Payload("chat", distinct=1, stream=True)))

    assert [(message["role"], len(message["content"].split())) for message in body["messages"]] == [
        ("user", 16)
    ]
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["max_tokens"] == 64


@pytest.mark.parametrize("task", ["embeddings", "completions", "chat"])
def test_there_are_as_many_different_bodies_as_asked_and_the_seed_decides_them(task):
    made = make(Payload(task, distinct=500))

    assert len(set(made)) == 500
    assert made == make(Payload(task, distinct=500))
    assert not set(made) & set(make(Payload(task, distinct=500), seed=2))


# -- given ------------------------------------------------------------------------------------------------------------


def test_plain_http_without_a_body_has_none():
    assert make(Payload()) == [None]


def test_an_inline_body_goes_as_it_is():
    assert make(Payload(body=" any ä ")) == [" any ä ".encode()]


def test_a_body_may_be_a_file(tmp_path):
    file = tmp_path / "body.bin"
    file.write_bytes(b"\x00\xff\n")

    assert make(Payload(body=f"@{file}")) == [b"\x00\xff\n"]


def test_a_body_file_has_a_body_a_line(tmp_path):
    file = tmp_path / "bodies.jsonl"
    file.write_bytes(b'{"input": "a"}\r\n\n{"input": "b", "dimensions": 3}')

    assert make(Payload(body_file=str(file))) == [b'{"input": "a"}', b'{"input": "b", "dimensions": 3}']
    assert make(Payload("embeddings", body_file=str(file))) == make(Payload(body_file=str(file)))


def test_bodies_of_an_ai_task_get_the_options_of_the_run(tmp_path):
    file = tmp_path / "bodies.jsonl"
    file.write_text('{"prompt": "a"}\n{"prompt": "b", "model": "other"}\n')
    made = read(make(Payload("completions", body_file=str(file), model="m", stream=True)))

    assert [body["model"] for body in made] == ["m", "m"]
    assert [body["prompt"] for body in made] == ["a", "b"]
    assert all(body["stream"] and body["stream_options"]["include_usage"] for body in made)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"input": "a"}\n{half\n', r"bodies.jsonl line 2 is not JSON \("),
        ('\n\n"text"\n', "bodies.jsonl line 3 is not a JSON object"),
        ("\n \n", "is empty; give one body a line"),
        ('{"stream": true}', "line 1 asks for a stream; ask for one with --stream"),
    ],
)
def test_a_body_file_that_does_not_fit_is_refused(tmp_path, content, message):
    file = tmp_path / "bodies.jsonl"
    file.write_text(content)

    with pytest.raises(ConfigError, match=message):
        make(Payload("embeddings", body_file=str(file)))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (Payload(body="a", body_file="b"), "both given; leave one out"),
        (Payload(body="@/no/such"), "'/no/such': No such file"),
        (Payload(body_file="/no/such"), "'/no/such': No such file"),
        (Payload("chat", body="a"), "the body is not JSON"),
        (Payload("embeddings", stream=True), "embeddings are not streamed"),
    ],
)
def test_a_payload_that_cannot_be_is_refused(payload, message):
    with pytest.raises(ConfigError, match=message):
        make(payload)


# -- with a trace -----------------------------------------------------------------------------------------------------


def test_recorded_lengths_become_words_and_limits(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("at_s,prompt_tokens,max_tokens\n0,3,10\n1,5,\n2,,20\n3,3,10\n")
    made = read(make(Payload("completions"), trace=file))

    assert [(len(body["prompt"].split()), body["max_tokens"]) for body in made] == [
        (3, 10),
        (5, 64),
        (16, 20),
        (3, 10),
    ]
    assert made[0] != made[3]


def test_recorded_rows_become_several_texts_of_the_same_length_together(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text(
        '{"at_s": 0, "rows": 3, "prompt_tokens": 8}\n{"at_s": 1, "rows": 3, "prompt_tokens": 8}\n'
    )
    made = read(make(Payload("embeddings"), trace=file))

    assert [[len(text.split()) for text in body["input"]] for body in made] == [[3, 3, 2]] * 2
    assert len({text for body in made for text in body["input"]}) == 6


def test_recorded_bodies_are_sent(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text('{"at_s": 0, "body": {"input": "a"}}\n{"at_s": 1, "body": "{\\"input\\": \\"b\\"}"}\n')

    assert read(make(Payload("embeddings"), trace=file)) == [{"input": "a"}, {"input": "b"}]


def test_given_bodies_are_taken_in_turn_by_a_trace(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("at_s,prompt_tokens\n0,3\n1,5\n2,7\n")
    bodies_file = tmp_path / "b.jsonl"
    bodies_file.write_text('{"input": "a"}\n{"input": "b"}\n')

    assert read(make(Payload("embeddings", body_file=str(bodies_file)), trace=file)) == [
        {"input": "a"},
        {"input": "b"},
    ]


@pytest.mark.parametrize(
    ("load", "words", "count"),
    [
        (OpenLoop((Stage(10, 20),)), 16, 211),
        (ClosedLoop((Stage(10, 5),), requests=42), 16, 42),
        (ClosedLoop((Stage(10, 5),)), 16, 10_000),
        (OpenLoop((Stage(3600, 1000),)), 16, 100_000),
        (OpenLoop((Stage(3600, 1000),)), 10_000, 838),
    ],
)
def test_every_request_has_its_own_body_within_reason(load, words, count):
    plan = Plan(target=Target("http://h/"), load=load, payload=Payload("chat", prompt_words=words))

    assert one_each(plan) == count


# -- the same run with nothing in common ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("embeddings", lambda body: body["input"]),
        ("completions", lambda body: body["prompt"]),
        ("chat", lambda body: body["messages"][0]["content"]),
    ],
)
def test_a_prefix_stands_before_every_text_and_changes_nothing_else(task, text):
    plain, prefixed = (make(Payload(task, distinct=20, prefix=prefix)) for prefix in ("", "amber"))

    assert [f"amber {text(body)}" for body in read(plain)] == [text(body) for body in read(prefixed)]


def test_a_prefix_stands_before_the_users_own_texts_too():
    (body,) = read(make(Payload("embeddings", body='{"input": ["a", "b", [1, 2]], "x": 1}', prefix="amber")))

    assert body == {"input": ["amber a", "amber b", [1, 2]], "x": 1}


def test_plain_http_bodies_have_no_prefix():
    assert make(Payload("http", body="as it is", prefix="amber")) == [b"as it is"]

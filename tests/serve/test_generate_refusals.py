"""What the generation routes refuse, and how they say so."""

from __future__ import annotations

import pytest
from generate_routes import CHAT, COMPLETIONS, HELLO, INFERENCE
from letter_generator import CONTEXT

from paceline.base.errors import CircuitOpen, DeadlineExceeded, EngineError, Overloaded
from paceline.flow.limiter import LimitPolicy
from paceline.serve.policy import AuthPolicy

WRONG = [
    (COMPLETIONS, {"prompt": "a", "max_tokens": 0}, "max_tokens"),
    (COMPLETIONS, {"prompt": "a", "max_tokens": 1 << 40}, "max_tokens"),
    (COMPLETIONS, {"prompt": "a", "max_tokens": "9"}, "max_tokens"),
    (COMPLETIONS, {"prompt": ""}, "prompt"),
    (COMPLETIONS, {"prompt": []}, "prompt"),
    (COMPLETIONS, {"prompt": [[1], []]}, "prompt[1]"),
    (COMPLETIONS, {"prompt": ["a", 1]}, "prompt"),
    (COMPLETIONS, {"prompt": "a", "n": 129}, "n"),
    (COMPLETIONS, {"prompt": ["a", "b"], "n": 65}, "n"),
    (COMPLETIONS, {"prompt": "a", "best_of": 2}, "best_of"),
    (COMPLETIONS, {"prompt": "a", "suffix": "z"}, "suffix"),
    (COMPLETIONS, {"prompt": "a", "stop": ["x"] * 17}, "stop"),
    (COMPLETIONS, {"prompt": "a", "stop": ["x" * 257]}, "stop[0]"),
    (COMPLETIONS, {"prompt": "a", "stop": ""}, "stop"),
    (COMPLETIONS, {"prompt": "a", "temperature": 2.1}, "temperature"),
    (COMPLETIONS, {"prompt": "a", "logit_bias": {"x": 1}}, "logit_bias"),
    (COMPLETIONS, {"prompt": "a", "stream_options": {"include_usage": True}}, "stream_options"),
    (COMPLETIONS, {"prompt": "a", "guided_regex": "a", "guided_choice": ["b"]}, "guided_json"),
    (COMPLETIONS, {"prompt": "a", "guided_regex": "("}, "guide"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": [{"role": "wizard", "content": "a"}]}, "messages[0].role"),
    (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content"),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].type",
    ),
    (CHAT, {"messages": HELLO, "top_logprobs": 2}, "top_logprobs"),
    (CHAT, {"messages": HELLO, "max_tokens": 1, "max_completion_tokens": 2}, "max_completion_tokens"),
    (CHAT, {"messages": HELLO, "tool_choice": "required"}, "tool_choice"),
    (CHAT, {"messages": HELLO, "response_format": {"type": "xml"}}, "response_format.type"),
    (
        CHAT,
        {
            "messages": HELLO,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "dragon"}},
            },
        },
        "guide",
    ),
    (
        CHAT,
        {"messages": HELLO, "response_format": {"type": "json_object"}, "guided_regex": "a"},
        "response_format",
    ),
    (INFERENCE, {"prompt": "a", "n": 2}, None),
    (INFERENCE, {"max_tokens": 3}, None),
    ("/v1/infer", {"task": "generate", "prompt": 3}, "prompt"),
    ("/v1/score", {"context": "a"}, "continuations"),
    ("/v1/score", {"continuations": ["a"]}, "context"),
    ("/v1/score", {"prompt": "a", "context": "b"}, "prompt"),
    ("/v1/score", {"context": "a", "continuations": ["a", [1]]}, "continuations"),
]


@pytest.mark.parametrize(("path", "content", "param"), WRONG)
def test_wrong_input_is_a_problem_that_names_its_field(writing, path, content, param):
    reply = writing.post(content, path)

    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert (reply.status, problem["code"], problem.get("param")) == (400, "invalid_request", param)
    assert problem["error"]["message"] == problem["detail"]


def test_a_prompt_longer_than_the_context_is_too_large_unless_it_may_be_cut(writing):
    long = {"prompt": "a" * CONTEXT}

    refused = writing.post(long, COMPLETIONS)
    cut = writing.post({**long, "truncate_prompt": True}, COMPLETIONS)

    assert (refused.status, refused.json()["code"], cut.status) == (413, "payload_too_large", 200)
    assert str(CONTEXT) in refused.json()["detail"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Overloaded("full", retry_after_s=2.4), 503),
        (CircuitOpen("open", retry_after_s=1), 503),
        (DeadlineExceeded("late"), 504),
        (EngineError("broken"), 500),
        (ZeroDivisionError(), 500),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_refusals_of_the_generator_have_their_status(writing, error, status, stream):
    writing.letters.refusal = error

    reply = writing.post({"prompt": "a", "stream": stream}, COMPLETIONS)

    assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json")


def test_a_model_that_does_not_generate_is_not_found(writing):
    reply = writing.post({"prompt": "a", "model": "tiny"}, COMPLETIONS)

    assert (reply.status, reply.json()["param"]) == (404, "model")
    assert "there is 'letters'" in reply.json()["detail"]


def test_a_house_that_does_not_generate_says_how(house):
    assert "generation is off (generate.model)" in house.post({"prompt": "a"}, COMPLETIONS).json()["detail"]


def test_the_door_is_the_same_as_for_embeddings(build):
    house = build(auth=AuthPolicy(token="secret"), limits=LimitPolicy(rpm=1), generating=True)

    statuses = [
        house.post({"prompt": "a"}, COMPLETIONS, authorization=f"Bearer {token}").status
        for token in ("wrong", "secret", "secret")
    ]

    assert statuses == [401, 200, 429]


def test_embeddings_go_on_beside_it(writing):
    embedded = writing.post({"task": "embed", "input": "a"}, "/v1/infer")

    assert (embedded.status, embedded.json()["model"]) == (200, "tiny")

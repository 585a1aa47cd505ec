"""The generation routes, called without a server."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
from generate_routes import CHAT, COMPLETIONS, HELLO, INFERENCE, events
from letter_generator import CONTEXT, LOGPROB, LetterGenerator

from paceline.base.errors import ConfigError
from paceline.serve.asgi import Application
from paceline.serve.policy import AuthPolicy, CompressionPolicy, ServePolicy

# -- whole replies ------------------------------------------------------------------------------------------------


def test_a_prompt_becomes_a_completion(writing):
    reply = writing.post({"model": "letters", "prompt": "a b", "max_tokens": 9}, COMPLETIONS)

    body = reply.json()
    assert body.pop("created") > 0
    assert body.pop("id") == f"cmpl-{reply.headers['x-request-id']}"
    assert body == {
        "object": "text_completion",
        "model": "letters",
        "choices": [{"index": 0, "text": "A B", "finish_reason": "stop", "logprobs": None}],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 3,
            "total_tokens": 6,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }
    assert reply.headers["x-paceline-cache"] == "miss"
    assert reply.headers["server-timing"].startswith('cache;desc="miss", tok;dur=0.000, queue;dur=2.000')


def test_a_conversation_becomes_a_message(writing):
    body = writing.post({"messages": HELLO}, CHAT).json()

    assert body["object"] == "chat.completion"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "HELLO YOU", "tool_calls": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]


@pytest.mark.parametrize(("path", "task"), [(INFERENCE, {}), ("/v1/infer", {"task": "generate"})])
def test_inference_has_one_text(writing, path, task):
    reply = writing.post({"prompt": "hello", "max_tokens": 2, "temperature": 0.7, **task}, path)

    body = reply.json()
    assert (reply.status, body["object"], body["text"], body["finish_reason"]) == (
        200,
        "inference",
        "HE",
        "length",
    )
    assert writing.letters.requests[0].sampling.temperature == 0.7


def test_choices_of_several_prompts_are_numbered_prompt_by_prompt(writing):
    body = writing.post({"prompt": ["a b", "c d"], "n": 2}, COMPLETIONS).json()

    assert [(choice["index"], choice["text"]) for choice in body["choices"]] == [
        (0, "A B"),
        (1, "B A"),
        (2, "C D"),
        (3, "D C"),
    ]
    assert body["usage"]["prompt_tokens"] == 6
    assert body["usage"]["completion_tokens"] == 12


@pytest.mark.parametrize(
    ("prompt", "texts"), [([0, 1], ["AB"]), ([[0], [1, 2]], ["A", "BC"]), (["x", "y"], ["X", "Y"])]
)
def test_prompts_may_be_token_ids(writing, prompt, texts):
    body = writing.post({"prompt": prompt}, COMPLETIONS).json()

    assert [choice["text"] for choice in body["choices"]] == texts


def test_echo_comes_first_with_its_log_probabilities(writing):
    choice = writing.post({"prompt": "ab", "echo": True, "logprobs": 1}, COMPLETIONS).json()["choices"][0]

    assert choice["text"] == "abAB"
    assert choice["logprobs"] == {
        "tokens": ["a", "b", "A", "B"],
        "token_logprobs": [None, LOGPROB, LOGPROB, LOGPROB],
        "top_logprobs": [None, {"b": LOGPROB}, {"A": LOGPROB}, {"B": LOGPROB}],
        "text_offset": [0, 1, 2, 3],
    }


def test_a_chats_log_probabilities_have_bytes_and_alternatives(writing):
    messages = [{"role": "user", "content": "a"}]

    choice = writing.post({"messages": messages, "logprobs": True, "top_logprobs": 2}, CHAT).json()[
        "choices"
    ][0]

    assert choice["logprobs"]["content"] == [
        {
            "token": "A",
            "logprob": LOGPROB,
            "bytes": [65],
            "top_logprobs": [
                {"token": "A", "logprob": LOGPROB, "bytes": [65]},
                {"token": "B", "logprob": 2 * LOGPROB, "bytes": [66]},
            ],
        }
    ]


def test_cached_tokens_and_the_tier_are_told(writing):
    writing.letters.cached, writing.letters.tier = 2, "l1"

    reply = writing.post({"prompt": "abc"}, COMPLETIONS)

    assert reply.json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}
    assert reply.headers["x-paceline-cache"] == "l1"


# -- streams ------------------------------------------------------------------------------------------------------


def test_a_completion_streams_letter_by_letter(writing):
    reply = writing.post({"prompt": "ab", "stream": True}, COMPLETIONS)

    told = events(reply)
    assert [(c["choices"][0]["text"], c["choices"][0]["finish_reason"]) for c in told] == [
        ("A", None),
        ("B", "stop"),
    ]
    assert {chunk["object"] for chunk in told} == {"text_completion"}
    assert "usage" not in told[0]
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-paceline-cache"] == "miss"
    assert {chunk["id"] for chunk in told} == {f"cmpl-{reply.headers['x-request-id']}"}


def test_a_chat_streams_its_role_first_and_its_usage_last(writing):
    content = {"messages": HELLO, "max_tokens": 2, "stream": True, "stream_options": {"include_usage": True}}

    told = events(writing.post(content, CHAT))

    assert [chunk["choices"][0]["delta"] for chunk in told[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "H"},
        {"content": "E"},
    ]
    assert [chunk["usage"] for chunk in told[:-1]] == [None] * 3
    assert (told[-1]["choices"], told[-1]["usage"]["total_tokens"]) == ([], 11)


def test_every_choice_of_a_stream_has_its_role(writing):
    told = events(writing.post({"messages": HELLO, "n": 2, "stream": True}, CHAT))

    roles = [c["choices"][0]["index"] for c in told if "role" in c["choices"][0]["delta"]]
    texts = ["", ""]
    for chunk in told:
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["delta"].get("content", "")
    assert (roles, texts) == ([0, 1], ["HELLO YOU", "YOU HELLO"])


def test_several_prompts_stream_together(writing):
    told = events(writing.post({"prompt": ["ab", "cd"], "stream": True}, COMPLETIONS))

    texts = ["", ""]
    for chunk in told:
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert texts == ["AB", "CD"]


def test_an_inference_streams_its_text(writing):
    content = {"prompt": "ab", "stream": True, "stream_options": {"include_usage": True}}

    told = events(writing.post(content, INFERENCE))

    assert [(chunk["text"], chunk["finish_reason"]) for chunk in told] == [
        ("A", None),
        ("B", "stop"),
        ("", None),
    ]
    assert told[-1]["usage"]["completion_tokens"] == 2


def test_log_probabilities_of_a_stream_go_on_where_the_last_piece_ended(writing):
    told = events(writing.post({"prompt": "ab", "logprobs": 0, "stream": True}, COMPLETIONS))

    assert [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in told] == [[0], [1]]


def test_a_failure_before_the_first_piece_has_its_status(writing):
    writing.letters.fails_after = 0

    reply = writing.post({"prompt": "ab", "stream": True}, COMPLETIONS)

    assert (reply.status, reply.json()["code"]) == (500, "engine_error")


def test_a_failure_later_ends_the_stream_with_an_error_event(writing):
    writing.letters.fails_after = 1

    reply = writing.post({"prompt": "ab", "stream": True}, COMPLETIONS)

    last = reply.body.decode().split("\n\n")[-2]
    assert last.startswith("event: error\ndata: ")
    problem = json.loads(last.partition("data: ")[2])
    assert (reply.status, problem["code"], problem["error"]["message"]) == (
        200,
        "engine_error",
        "the letters ran out; try again",
    )
    assert writing.letters.abandoned == 1
    assert b"DONE" not in reply.body


# -- scores -------------------------------------------------------------------------------------------------------


def test_continuations_are_scored(writing):
    body = writing.post({"context": "a", "continuations": ["b", "cd"]}, "/v1/score").json()

    assert body == {
        "object": "list",
        "model": "letters",
        "data": [
            {"index": 0, "logprob": LOGPROB, "tokens": [98], "token_logprobs": [LOGPROB], "greedy": True},
            {
                "index": 1,
                "logprob": 2 * LOGPROB,
                "tokens": [99, 100],
                "token_logprobs": [LOGPROB] * 2,
                "greedy": False,
            },
        ],
    }


def test_a_prompt_alone_is_scored_token_by_token(writing):
    body = writing.post({"prompt": "abc"}, "/v1/score").json()

    (score,) = body["data"]
    assert score == {
        "index": 0,
        "logprob": 2 * LOGPROB,
        "tokens": [97, 98, 99],
        "token_logprobs": [None, LOGPROB, LOGPROB],
        "greedy": True,
    }


# -- what is counted ----------------------------------------------------------------------------------------------


def test_a_generation_is_counted(writing):
    writing.letters.cached = 1
    writing.post({"prompt": "ab"}, COMPLETIONS)
    writing.post({"prompt": "abc", "max_tokens": 1, "stream": True}, COMPLETIONS)

    lines = set(writing.call("GET", "/metrics").body.decode().splitlines())
    assert {
        "paceline_generate_prompt_tokens_total 5.0",
        "paceline_generate_completion_tokens_total 3.0",
        "paceline_generate_cached_tokens_total 2.0",
        'paceline_generate_finished_total{reason="stop"} 1.0',
        'paceline_generate_finished_total{reason="length"} 1.0',
        "paceline_generate_ttft_seconds_count 2",
        "paceline_generate_inter_token_seconds_count 1",
        "paceline_generate_e2e_seconds_count 2",
        "paceline_generate_streaming 0.0",
        "paceline_tokens_total 8.0",
        'paceline_scheduler_steps_total{model="letters"} 2.0',
        'paceline_requests_total{route="/v1/completions",status="200"} 2',
    } <= lines


def test_models_and_health_know_the_generator(writing):
    models = writing.call("GET", "/v1/models").json()["data"]
    writing.letters.status = "failing"

    assert [(model["id"], model["task"], model["max_tokens"]) for model in models] == [
        ("tiny", "embed", 256),
        ("letters", "generate", CONTEXT),
    ]
    assert writing.call("GET", "/v1/models/letters").json()["task"] == "generate"
    assert writing.call("GET", "/health").json()["engines"]["letters"] == {"status": "failing"}


def test_the_access_log_tells_the_tokens_and_the_time_to_the_first(build):
    class Log:
        lines: ClassVar[list] = []
        add = lines.append

    house = build(generating=True, access_log=Log())
    house.post({"prompt": "ab", "priority": "low", "stream": True}, COMPLETIONS)
    house.post({"messages": HELLO}, CHAT)
    house.letters.fails_after = 1
    house.post({"prompt": "ab", "stream": True}, COMPLETIONS)
    house.post({"input": "a"})

    stream, chat, failed, embedded = Log.lines
    assert (stream.prompt_tokens, stream.completion_tokens, stream.priority, stream.tier) == (
        2,
        2,
        "low",
        "miss",
    )
    assert 0 < stream.ttft_ms < stream.duration_ms
    assert (chat.completion_tokens, chat.rows, chat.status) == (9, 1, 200)
    assert (failed.status, failed.completion_tokens) == (500, 1)
    assert (embedded.prompt_tokens, embedded.completion_tokens, embedded.ttft_ms) == (3, None, None)


def test_two_models_of_one_name_are_refused(house):
    house.letters.name = "tiny"

    with pytest.raises(ConfigError, match=r"both 'tiny'"):
        Application(
            [house.embedder],
            generators=[house.letters],
            policy=ServePolicy(),
            auth=AuthPolicy(),
            compression=CompressionPolicy(),
        )


def test_of_several_generators_one_must_be_named(house):
    other = LetterGenerator()
    other.name = "others"
    house.app = Application(
        generators=[house.letters, other],
        policy=ServePolicy(),
        auth=AuthPolicy(),
        compression=CompressionPolicy(),
    )

    unnamed = house.post({"prompt": "a"}, COMPLETIONS)
    named = house.post({"prompt": "a", "model": "others"}, COMPLETIONS)

    assert (unnamed.status, unnamed.json()["param"]) == (400, "model")
    assert (named.status, named.json()["model"]) == (200, "others")

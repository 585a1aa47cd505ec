"""The generation routes, called without a server."""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

import pytest
from letter_generator import CONTEXT, LOGPROB, LetterGenerator

from paceline.base.errors import CircuitOpen, ConfigError, DeadlineExceeded, EngineError, Overloaded
from paceline.base.generation import Chat, Guide
from paceline.flow.limiter import LimitPolicy
from paceline.serve.asgi import Application
from paceline.serve.policy import AuthPolicy, CompressionPolicy, ServePolicy

COMPLETIONS, CHAT, INFERENCE = "/v1/completions", "/v1/chat/completions", "/v1/inference"
HELLO = [{"role": "user", "content": "hello you"}]


def events(reply):
    """The data of a stream, whose end is checked."""
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    blocks = reply.body.decode().split("\n\n")
    assert (blocks[-2], blocks[-1]) == ("data: [DONE]", "")
    return [json.loads(block.removeprefix("data: ")) for block in blocks[:-2]]


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


# -- tools --------------------------------------------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
SAID = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'


def test_a_marked_call_becomes_a_tool_call(writing):
    writing.letters.answer = SAID

    choice = writing.post({"messages": HELLO, "tools": [TOOL]}, CHAT).json()["choices"][0]

    (call,) = choice["message"]["tool_calls"]
    assert call.pop("id").startswith("call_")
    assert call == {"type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")
    assert writing.letters.requests[0].prompt.tools == (TOOL,)


def test_a_streamed_call_comes_whole_and_no_mark_is_text(writing):
    writing.letters.answer = f"Let me see. {SAID}"

    told = events(writing.post({"messages": HELLO, "tools": [TOOL], "stream": True}, CHAT))

    deltas = [chunk["choices"][0]["delta"] for chunk in told]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert "".join(delta.get("content", "") for delta in deltas) == "Let me see. "
    assert [(call["index"], call["function"]["arguments"]) for call in calls] == [(0, '{"city":"Oslo"}')]
    assert told[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("asked", [{}, {"tools": [TOOL], "tool_choice": "none"}])
def test_without_tools_the_marks_are_text(writing, asked):
    writing.letters.answer = SAID

    choice = writing.post({"messages": HELLO, **asked}, CHAT).json()["choices"][0]

    assert (choice["message"]["content"], choice["finish_reason"]) == (SAID, "stop")
    assert writing.letters.requests[0].prompt.tools is None


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


# -- refusals -----------------------------------------------------------------------------------------------------

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


# -- what is asked ------------------------------------------------------------------------------------------------


def test_messages_reach_the_template_in_its_own_words(writing):
    writing.post(
        {
            "messages": [
                {
                    "role": "developer",
                    "content": [{"type": "text", "text": "be"}, {"type": "text", "text": "kind"}],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
                    ],
                },
                {"role": "tool", "content": "3", "tool_call_id": "c1"},
            ],
            "chat_template_kwargs": {"enable_thinking": False},
        },
        CHAT,
    )

    (request,) = writing.letters.requests
    assert request.prompt == Chat(
        messages=(
            {"role": "system", "content": "be\nkind"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
                ],
            },
            {"role": "tool", "content": "3", "tool_call_id": "c1"},
        ),
        template_arguments={"enable_thinking": False},
    )


@pytest.mark.parametrize(
    ("asked", "guide"),
    [
        ({"guided_json": {"type": "object"}}, Guide("json_schema", '{"type":"object"}')),
        ({"guided_json": '{"type":"string"}'}, Guide("json_schema", '{"type":"string"}')),
        ({"guided_regex": "a+"}, Guide("regex", "a+")),
        ({"guided_choice": ["yes", "no"]}, Guide("choice", '["yes","no"]')),
        ({"guided_grammar": "start: /a/"}, Guide("grammar", "start: /a/")),
        ({"response_format": {"type": "json_object"}}, Guide("json", "")),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "object"}},
                }
            },
            Guide("json_schema", '{"type":"object"}'),
        ),
        ({"response_format": {"type": "text"}}, None),
    ],
)
def test_guides_come_by_several_names(writing, asked, guide):
    reply = writing.post({"messages": HELLO, **asked}, CHAT)

    assert (reply.status, writing.letters.requests[0].sampling.guide) == (200, guide)


def test_the_callers_patience_is_passed_on(writing):
    writing.post({"prompt": "a"}, COMPLETIONS, x_request_timeout_ms="1000")
    short = writing.letters.deadline_at
    writing.post({"prompt": "a"}, COMPLETIONS)

    assert 598 < writing.letters.deadline_at - short < 600


# -- departures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [COMPLETIONS, "/v1/infer"])
def test_a_caller_that_leaves_ends_its_generation(writing, stream, path):
    async def scenario():
        writing.letters.steps = asyncio.Semaphore(1)
        leave = asyncio.Event()
        content = {"prompt": "abc", "stream": stream}
        body = json.dumps(content if path == COMPLETIONS else {"task": "generate", **content}).encode()
        asking = asyncio.ensure_future(writing.ask("POST", path, body, leave=leave))
        await writing.letters.entered.wait()
        leave.set()
        await writing.letters.left.wait()
        return await asking

    reply = asyncio.run(scenario())

    page = writing.call("GET", "/metrics").body.decode()
    assert writing.letters.abandoned == 1
    assert f'paceline_requests_total{{route="{path}",status="499"}} 1' in page
    assert 'paceline_generate_finished_total{reason="abandoned"} 1' in page
    assert reply is None or (stream and b"DONE" not in reply.body)


def test_when_one_of_several_prompts_fails_the_others_are_given_up(writing):
    writing.letters.fails_after = 1

    reply = writing.post({"prompt": ["ab", "cd"]}, COMPLETIONS)

    assert (reply.status, writing.letters.abandoned) == (500, 2)


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

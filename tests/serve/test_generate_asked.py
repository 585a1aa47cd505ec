"""What callers may ask of the generation routes reaches the generator in its own words, and ends when they leave."""

from __future__ import annotations

import asyncio
import json

import pytest
from generate_routes import CHAT, COMPLETIONS, HELLO

from paceline.base.generation import Chat, Guide


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

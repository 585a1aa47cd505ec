"""Calls of tools over the generation routes, from marks in what the model wrote."""

from __future__ import annotations

import pytest
from generate_routes import CHAT, HELLO, events

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

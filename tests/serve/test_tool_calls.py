"""Tool calls marked in a model's text."""

from __future__ import annotations

import pytest

from paceline.serve.tool_calls import ToolCalls

CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'


def read(*pieces):
    """The text, and (name, arguments) of each call, of pieces that come one after the other."""
    reader = ToolCalls()
    told = [reader.feed(piece, last=place + 1 == len(pieces)) for place, piece in enumerate(pieces)]
    calls = [call for _, calls in told for call in calls]
    assert [call.index for call in calls] == list(range(len(calls)))
    return "".join(text for text, _ in told), [
        (call.function.name, call.function.arguments) for call in calls
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no call", ("no call", [])),
        ("a < b", ("a < b", [])),
        (CALL, ("", [("f", '{"x":1}')])),
        (f"well: {CALL}", ("well: ", [("f", '{"x":1}')])),
        (f"{CALL}\n{CALL}", ("", [("f", '{"x":1}')] * 2)),
        ('<tool_call>{"name": "g"}</tool_call>', ("", [("g", "{}")])),
        ('<tool_call>{"name": "g"}', ("", [("g", "{}")])),
        ("<tool_call>nonsense</tool_call>.", ("<tool_call>nonsense</tool_call>.", [])),
        ('<tool_call>{"name": "g"', ('<tool_call>{"name": "g"', [])),
        ("ends in <tool", ("ends in <tool", [])),
    ],
)
def test_calls_are_read_alike_whole_and_letter_by_letter(text, expected):
    assert read(text) == expected
    assert read(*text) == expected


def test_what_cannot_be_a_mark_is_not_held_back():
    reader = ToolCalls()

    assert reader.feed("a <", last=False) == ("a ", [])
    assert reader.feed("b", last=False) == ("<b", [])

"""Paths of the generation routes, a conversation, and what is read of a stream."""

from __future__ import annotations

import json

COMPLETIONS, CHAT, INFERENCE = "/v1/completions", "/v1/chat/completions", "/v1/inference"
HELLO = [{"role": "user", "content": "hello you"}]


def events(reply):
    """The data of a stream, whose end is checked."""
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    blocks = reply.body.decode().split("\n\n")
    assert (blocks[-2], blocks[-1]) == ("data: [DONE]", "")
    return [json.loads(block.removeprefix("data: ")) for block in blocks[:-2]]

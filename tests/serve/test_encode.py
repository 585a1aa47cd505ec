"""Replies as bytes, against the plain way through the wire structs."""

from __future__ import annotations

import asyncio
import base64

import msgspec
import numpy as np
import pytest

from paceline.base.api import Embedding, EmbedReply, EmbedUsage
from paceline.base.timings import Timings
from paceline.embed.result import EmbedResult
from paceline.serve.encode import embed_reply, embed_reply_in_turns, embed_reply_msgpack


def result(texts, truncated=()):
    random = np.random.default_rng(3)
    vectors = [random.standard_normal(384).astype("<f4").tobytes() for _ in range(texts)]
    return EmbedResult(
        vectors=vectors, tokens=7 * texts, truncated=list(truncated), model='a "model"', timings=Timings()
    )


def plain(result, embedding):
    return EmbedReply(
        data=[
            Embedding(embedding=embedding(vector), index=index) for index, vector in enumerate(result.vectors)
        ],
        model=result.model,
        usage=EmbedUsage(prompt_tokens=result.tokens, total_tokens=result.tokens),
        truncated=result.truncated,
    )


@pytest.mark.parametrize("texts", [1, 2, 32, 33, 100])
def test_base64_is_that_of_the_standard_library(texts):
    given = result(texts, truncated=[0])

    body = embed_reply(given, "base64")

    assert msgspec.json.decode(body, type=EmbedReply) == plain(given, lambda v: base64.b64encode(v).decode())


@pytest.mark.parametrize("texts", [1, 2, 33, 100])
def test_floats_are_the_shortest_digits_that_give_the_same_float32(texts):
    given = result(texts)

    body = embed_reply(given, "float")

    reply = msgspec.json.decode(body, type=EmbedReply)
    back = [np.array(row.embedding, dtype="<f4").tobytes() for row in reply.data]
    assert back == given.vectors
    assert [row.index for row in reply.data] == list(range(texts))
    assert len(body) < texts * 384 * 14


def test_msgpack_carries_the_bytes_themselves():
    given = result(2, truncated=[1])

    body = msgspec.msgpack.decode(embed_reply_msgpack(given))

    assert [row["embedding"] for row in body["data"]] == given.vectors
    assert (body["model"], body["usage"]["total_tokens"], body["truncated"]) == (given.model, 14, [1])


def test_a_long_reply_lets_others_have_their_turn():
    async def turns():
        taken = 0

        async def other():
            nonlocal taken
            while True:
                taken += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(other())
        body = await embed_reply_in_turns(given, "float")
        task.cancel()
        return taken, body

    given = result(320)
    taken, body = asyncio.run(turns())

    assert taken >= 9
    assert body == embed_reply(given, "float")

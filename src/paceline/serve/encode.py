"""Replies with vectors as bytes. No Python code runs per number."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Sequence

import msgspec
import numpy as np
import orjson

from paceline.embed.result import EmbedResult

TURN_TEXTS = 32
"""Vectors encoded at a stretch: half a millisecond for 384 floats each."""

_REPLY = (
    b'{"object":"list","data":[%b],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d},"truncated":%b}'
)
_BASE64_ROW = b'{"object":"embedding","index":%d,"embedding":"%b"}'

_msgpack = msgspec.msgpack.Encoder().encode


def embed_reply(result: EmbedResult, encoding_format: str) -> bytes:
    """The JSON body of an `EmbedReply`; `encoding_format` as in `EmbedRequest`."""
    rows = _base64_rows if encoding_format == "base64" else _float_rows
    return _whole(result, rows(result.vectors, 0))


async def embed_reply_in_turns(result: EmbedResult, encoding_format: str) -> bytes:
    """The same, letting other requests have a turn every `TURN_TEXTS` vectors."""
    rows = _base64_rows if encoding_format == "base64" else _float_rows
    pieces: list[bytes] = []
    for start in range(0, len(result.vectors), TURN_TEXTS):
        pieces.append(rows(result.vectors[start : start + TURN_TEXTS], start))
        await asyncio.sleep(0)
    return _whole(result, b",".join(pieces))


def _whole(result: EmbedResult, rows: bytes) -> bytes:
    return _REPLY % (
        rows,
        orjson.dumps(result.model),
        result.tokens,
        result.tokens,
        orjson.dumps(result.truncated) if result.truncated else b"[]",
    )


def _base64_rows(vectors: Sequence[bytes], start: int) -> bytes:
    b64 = binascii.b2a_base64
    rows = [_BASE64_ROW % (index, b64(vector, newline=False)) for index, vector in enumerate(vectors, start)]
    return rows[0] if len(rows) == 1 else b",".join(rows)


def _float_rows(vectors: Sequence[bytes], start: int) -> bytes:
    return orjson.dumps(
        [
            {"object": "embedding", "index": index, "embedding": np.frombuffer(vector, dtype="<f4")}
            for index, vector in enumerate(vectors, start)
        ],
        option=orjson.OPT_SERIALIZE_NUMPY,
    )[1:-1]


def embed_reply_msgpack(result: EmbedResult) -> bytes:
    """The same as MessagePack; each `embedding` is a bin of little-endian float32, whatever the format asked for."""
    return _msgpack(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": vector}
                for index, vector in enumerate(result.vectors)
            ],
            "model": result.model,
            "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens},
            "truncated": result.truncated,
        }
    )

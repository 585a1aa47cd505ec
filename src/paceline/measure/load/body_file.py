"""Bodies the user brings: one inline, one in a file (`@file`), one a line (JSONL), or queries one a row (.npy)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from paceline.base.errors import ConfigError
from paceline.measure.load.vector_query import MAGIC, query_bodies
from paceline.measure.plan import Payload

STREAMED: Final[dict[str, Any]] = {"stream": True, "stream_options": {"include_usage": True}}
"""What asks an OpenAI-compatible server for a stream that ends with its token counts."""


def given_bodies(payload: Payload) -> list[bytes]:
    """The bodies of `payload.body` or `payload.body_file`; none when neither is given.

    For an AI task each must be a JSON object, and gets `payload.model` and the fields of a stream where asked for.
    Raises ConfigError naming file and line.
    """
    if payload.body is not None and payload.body_file is not None:
        raise ConfigError("a body and a body file are both given; leave one out", param="payload.body_file")
    if payload.body_file is not None:
        content = _read(payload.body_file, "payload.body_file")
        name = Path(payload.body_file).name
        if payload.task == "vectors" and content.startswith(MAGIC):
            return query_bodies(content, name)
        lines = content.split(b"\n")
        given = [
            completed(line.strip(), payload, f"{name} line {number}")
            for number, line in enumerate(lines, 1)
            if line.strip()
        ]
        if not given:
            raise ConfigError(
                f"{payload.body_file!r} is empty; give one body a line", param="payload.body_file"
            )
        return given
    if payload.body is None:
        return []
    if not payload.body.startswith("@"):
        return [completed(payload.body.encode(), payload, "the body")]
    file = payload.body[1:]
    return [completed(_read(file, "payload.body"), payload, Path(file).name)]


def completed(body: bytes, payload: Payload, where: str) -> bytes:
    """`body` as it is sent: unchanged for plain HTTP, with the options of the run for an AI task.

    Raises ConfigError, beginning with `where`, for what is no JSON object, or a stream that was not asked for.
    """
    if payload.task == "http":
        return body
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{where} is not JSON ({error}); task {payload.task} sends JSON objects", param="payload"
        ) from None
    if not isinstance(fields, dict):
        raise ConfigError(f"{where} is not a JSON object; task {payload.task} sends those", param="payload")
    if fields.get("stream") and not payload.stream:
        raise ConfigError(f"{where} asks for a stream; ask for one with --stream too", param="payload.stream")
    options: dict[str, Any] = {} if payload.model is None else {"model": payload.model}
    if payload.stream:
        options |= STREAMED
    return msgspec.json.encode(fields | options) if options else body


def _read(file: str, param: str) -> bytes:
    try:
        return Path(file).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{file!r}: {error.strerror or error}; give a file that can be read", param=param
        ) from None

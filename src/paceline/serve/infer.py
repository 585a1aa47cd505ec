"""`POST /v1/infer`: one door to every task."""

from __future__ import annotations

from collections.abc import Mapping

from paceline.base.api import EmbedRequest, InferRequest
from paceline.serve.decode import Decoder

_decoder = Decoder(InferRequest)


def decode_infer(body: bytes, headers: Mapping[bytes, bytes]) -> EmbedRequest:
    """The embedding request inside; `task: embed` is the only task so far."""
    request = _decoder.decode(body, headers)
    return EmbedRequest(
        input=request.input,
        model=request.model,
        encoding_format=request.encoding_format,
        dimensions=request.dimensions,
        truncate=request.truncate,
        priority=request.priority,
    )

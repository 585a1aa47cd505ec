"""`POST /v1/infer`: one door to every task."""

from __future__ import annotations

from collections.abc import Mapping

from paceline.base.api import EmbedInfer, EmbedRequest
from paceline.base.generate_api import GenerateInfer
from paceline.serve.decode import Decoder
from paceline.serve.generate_decode import Asked, inference_of

_decoder: Decoder[EmbedInfer | GenerateInfer] = Decoder(EmbedInfer | GenerateInfer)  # type: ignore[arg-type]  # a union, told apart by its tag


def decode_infer(body: bytes, headers: Mapping[bytes, bytes]) -> EmbedRequest | Asked:
    """What the task's own route would have decoded."""
    request = _decoder.decode(body, headers)
    if isinstance(request, GenerateInfer):
        return inference_of(request)
    return EmbedRequest(
        input=request.input,
        model=request.model,
        encoding_format=request.encoding_format,
        dimensions=request.dimensions,
        truncate=request.truncate,
        priority=request.priority,
    )

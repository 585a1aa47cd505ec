"""Wire structs: what travels over HTTP and between our processes. Frozen; unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Priority = Literal["high", "normal", "low"]
TokenId = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]


class EmbedRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Body of `POST /v1/embeddings` (OpenAI's, plus `truncate`, `priority`)."""

    input: Annotated[
        str | list[str | TokenId | list[TokenId]],
        Meta(description="A text, a list of texts, one list of token ids, or a list of such lists."),
    ]
    model: Annotated[str, Meta(description="Model id as listed by `/v1/models`.")] | None = None
    encoding_format: Annotated[
        Literal["float", "base64"],
        Meta(description="`base64` is little-endian float32, six times cheaper to encode and smaller."),
    ] = "float"
    dimensions: Annotated[
        Annotated[int, Meta(ge=1, le=65536)] | None,
        Meta(description="Keep the first n (Matryoshka) and normalise again."),
    ] = None
    user: Annotated[str | None, Meta(description="Accepted for compatibility; not used.")] = None
    truncate: Annotated[
        bool,
        Meta(
            description="Cut texts longer than the model's window and report it in `truncated`; "
            "`false` refuses them instead."
        ),
    ] = True
    priority: Annotated[Priority, Meta(description="Scheduling class; low ages into high.")] = "normal"


class EmbedUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens the model saw, after truncation, special tokens included."""

    prompt_tokens: int
    total_tokens: int


class Embedding(msgspec.Struct, frozen=True, gc=False):
    """One vector: a list of floats, or base64 of little-endian float32."""

    embedding: list[float] | str
    index: int
    object: Literal["embedding"] = "embedding"


class EmbedReply(msgspec.Struct, frozen=True, omit_defaults=False):
    """Body of the reply to `POST /v1/embeddings`."""

    data: list[Embedding]
    model: str
    usage: EmbedUsage
    object: Literal["list"] = "list"
    truncated: Annotated[list[int], Meta(description="Indices of inputs that were cut to the window.")] = []


class EmbedInfer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="task", tag="embed"):
    """Body of `POST /v1/infer` with `task: embed`: the fields of `/v1/embeddings`."""

    input: str | list[str | TokenId | list[TokenId]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Meta(ge=1, le=65536)] | None = None
    truncate: bool = True
    priority: Priority = "normal"


class ModelCard(msgspec.Struct, frozen=True):
    """One entry of `/v1/models`."""

    id: str
    created: int
    owned_by: str = "paceline"
    object: Literal["model"] = "model"
    task: str = "embed"
    dimensions: int = 0
    max_tokens: int = 0
    precision: str = ""
    engine: str = ""


class ModelList(msgspec.Struct, frozen=True):
    """Body of the reply to `GET /v1/models`."""

    data: list[ModelCard]
    object: Literal["list"] = "list"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details, with OpenAI's `error` beside it so that its clients show the message."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str = ""
    param: str | None = None
    retry_after_s: float | None = None
    error: dict[str, Any] = {}

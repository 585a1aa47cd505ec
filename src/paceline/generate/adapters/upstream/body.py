"""A `GenerateRequest` as the body of an OpenAI-compatible request.

OpenAI's own fields are sent by their OpenAI names. What only vLLM and its relatives know (`top_k`, `min_p`, ...) is
sent only where it differs from the default, so that a strict server refuses no request that did not need it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from paceline.base.errors import InvalidRequest
from paceline.base.generation import Chat, GenerateRequest, Guide, Sampling


def path_of(request: GenerateRequest) -> str:
    """Where the request goes, below the upstream's base address."""
    return "/chat/completions" if isinstance(request.prompt, Chat) else "/completions"


def body_of(request: GenerateRequest, model: str) -> bytes:
    """The request as JSON. Raises InvalidRequest for what a stream of this protocol cannot carry."""
    if request.prompt_logprobs is not None and not (request.echo and request.logprobs is not None):
        raise InvalidRequest(
            "prompt_logprobs cannot be had from an upstream's stream; send echo = true with logprobs, or use /v1/score",
            param="prompt_logprobs",
        )
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_sampling(request.sampling),
    }
    if isinstance(request.prompt, Chat):
        body |= _chat(request.prompt, request)
    else:
        # Without the null a completion would end after OpenAI's default of 16 tokens.
        body |= {"prompt": request.prompt, "max_tokens": request.max_tokens}
        if request.logprobs is not None:
            body["logprobs"] = request.logprobs
    optional = {
        "n": (request.n, 1),
        "stop": (list(request.stop), []),
        "echo": (request.echo, False),
        "stop_token_ids": (list(request.stop_token_ids), []),
        "ignore_eos": (request.ignore_eos, False),
        "truncate_prompt_tokens": (-1 if request.truncate else None, None),
    }
    body |= {name: value for name, (value, default) in optional.items() if value != default}
    return msgspec.json.encode(body)


def _chat(chat: Chat, request: GenerateRequest) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": list(chat.messages)}
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    if chat.tools:
        body["tools"] = list(chat.tools)
    if chat.template_arguments:
        body["chat_template_kwargs"] = dict(chat.template_arguments)
    return body


def _sampling(sampling: Sampling) -> dict[str, Any]:
    # These two always: what an absent one means differs, vLLM takes it from the model's folder.
    body: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    plain = Sampling()
    for name in ("top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed"):
        if (value := getattr(sampling, name)) != getattr(plain, name):
            body[name] = value
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    if sampling.guide is not None:
        body |= _guide(sampling.guide)
    return body


def _guide(guide: Guide) -> dict[str, Any]:
    """JSON in OpenAI's words; the rest in vLLM's, since OpenAI has none."""
    match guide.kind:
        case "json":
            return {"response_format": {"type": "json_object"}}
        case "json_schema":
            named = {"name": "answer", "schema": _json(guide), "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case "choice":
            return {"structured_outputs": {"choice": _json(guide)}}
        case "regex" | "grammar":
            return {"structured_outputs": {guide.kind: guide.source}}


def _json(guide: Guide) -> Any:
    try:
        return msgspec.json.decode(guide.source)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"the guide ({guide.kind}) is not JSON: {error}", param="guide") from error

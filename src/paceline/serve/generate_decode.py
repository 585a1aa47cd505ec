"""Bodies of the generation routes in their normal form: one `GenerateRequest` for each prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from paceline.base.errors import InvalidRequest
from paceline.base.generate_api import (
    MAX_CHOICES,
    ChatRequest,
    CompletionRequest,
    InferenceRequest,
    JsonFormat,
    Message,
    Sampled,
    SchemaFormat,
    ScoreBody,
)
from paceline.base.generation import Chat, GenerateRequest, Guide, Sampling, ScoreRequest

COMPLETION_TOKENS = 16
"""Length of a completion whose caller does not say, as OpenAI has it."""
INFERENCE_TOKENS = 128

_encode = msgspec.json.Encoder(order="deterministic").encode


class Asked(msgspec.Struct, frozen=True):
    """What one call asks, whatever route it came by."""

    requests: tuple[GenerateRequest, ...]
    """One for each prompt; they differ in nothing else."""
    stream: bool
    include_usage: bool
    """Whether a stream ends with the tokens used."""
    tools: bool = False
    """Whether tool calls in the text are to be told as such."""

    @property
    def choices(self) -> int:
        """Answers of the call."""
        return len(self.requests) * self.requests[0].n


def completion_of(body: CompletionRequest) -> Asked:
    """Of `/v1/completions`. Raises InvalidRequest, as do the others here."""
    n = body.n or 1
    prompts = _prompts(body.prompt)
    if len(prompts) * n > MAX_CHOICES:
        raise InvalidRequest(
            f"{len(prompts)} prompts with n = {n} make {len(prompts) * n} answers, the limit is {MAX_CHOICES}; send several calls",
            param="n" if n > 1 else "prompt",
        )
    if body.best_of not in (None, n):
        raise InvalidRequest(
            f"best_of = {body.best_of} with n = {n}: every answer that is made is told; leave best_of out",
            param="best_of",
        )
    common = _common(body, max_tokens=body.max_tokens or COMPLETION_TOKENS)
    echo = bool(body.echo)
    return Asked(
        requests=tuple(
            GenerateRequest(
                prompt=prompt,
                n=n,
                echo=echo,
                logprobs=body.logprobs,
                prompt_logprobs=body.logprobs if echo else None,
                **common,
            )
            for prompt in prompts
        ),
        stream=bool(body.stream),
        include_usage=_include_usage(body),
    )


def inference_of(body: InferenceRequest) -> Asked:
    """Of `/v1/inference` and `/v1/infer`."""
    (prompt,) = _prompts(body.prompt)
    common = _common(body, max_tokens=body.max_tokens or INFERENCE_TOKENS)
    return Asked(
        requests=(GenerateRequest(prompt=prompt, **common),),
        stream=bool(body.stream),
        include_usage=_include_usage(body),
    )


def chat_of(body: ChatRequest) -> Asked:
    """Of `/v1/chat/completions`."""
    longest = (body.max_tokens, body.max_completion_tokens)
    if None not in longest and longest[0] != longest[1]:
        raise InvalidRequest(
            f"max_tokens = {longest[0]} and max_completion_tokens = {longest[1]} are two names of one thing; send one",
            param="max_completion_tokens",
        )
    if body.top_logprobs is not None and not body.logprobs:
        raise InvalidRequest(
            f"top_logprobs = {body.top_logprobs} needs logprobs = true", param="top_logprobs"
        )
    tools = body.tools if body.tools and body.tool_choice != "none" else None
    chat = Chat(
        messages=tuple(_turn(message, place) for place, message in enumerate(body.messages)),
        tools=None if tools is None else tuple(msgspec.to_builtins(tool) for tool in tools),
        template_arguments=body.chat_template_kwargs or {},
    )
    common = _common(body, max_tokens=longest[0] or longest[1], guide=_response_guide(body))
    request = GenerateRequest(
        prompt=chat, n=body.n or 1, logprobs=(body.top_logprobs or 0) if body.logprobs else None, **common
    )
    return Asked(
        requests=(request,),
        stream=bool(body.stream),
        include_usage=_include_usage(body),
        tools=tools is not None,
    )


def score_of(body: ScoreBody) -> ScoreRequest | GenerateRequest:
    """Of `/v1/score`: a ScoreRequest, or for a prompt alone a GenerateRequest that tells its log-probabilities."""
    if body.prompt is not None:
        if body.context is not None or body.continuations is not None:
            raise InvalidRequest(
                "send context and continuations, or a prompt alone, not both", param="prompt"
            )
        return GenerateRequest(
            prompt=body.prompt,
            model=body.model,
            max_tokens=1,
            sampling=Sampling(temperature=0.0),
            prompt_logprobs=1,
            priority=body.priority,
        )
    if body.context is None or body.continuations is None:
        missing = "context" if body.context is None else "continuations"
        raise InvalidRequest(
            f"{missing} is missing; send context and continuations, or a prompt", param=missing
        )
    if len({type(continuation) for continuation in body.continuations}) > 1:
        raise InvalidRequest(
            "continuations mixes texts and token lists; send one kind", param="continuations"
        )
    # One kind only, as just seen, which the type checker cannot know.
    continuations: Any = tuple(body.continuations)
    return ScoreRequest(
        context=body.context, continuations=continuations, model=body.model, priority=body.priority
    )


def _common(body: Sampled, *, max_tokens: int | None, guide: Guide | None = None) -> dict[str, Any]:
    """The fields that all routes fill alike."""
    guides = [found for found in (guide, *_guides(body)) if found is not None]
    if len(guides) > 1:
        raise InvalidRequest(
            f"{len(guides)} guides at once ({', '.join(found.kind for found in guides)}); send one of response_format, "
            "guided_json, guided_regex, guided_choice, guided_grammar",
            param="response_format" if guide is not None else "guided_json",
        )
    stop = body.stop or ()
    return {
        "model": body.model,
        "max_tokens": max_tokens,
        "sampling": Sampling(
            temperature=_or(body.temperature, 1.0),
            top_k=max(0, body.top_k or 0),
            top_p=_or(body.top_p, 1.0),
            min_p=body.min_p or 0.0,
            repetition_penalty=_or(body.repetition_penalty, 1.0),
            presence_penalty=body.presence_penalty or 0.0,
            frequency_penalty=body.frequency_penalty or 0.0,
            seed=None if body.seed is None else body.seed % (1 << 64),
            logit_bias=body.logit_bias or {},
            guide=guides[0] if guides else None,
        ),
        "stop": (stop,) if isinstance(stop, str) else tuple(stop),
        "stop_token_ids": tuple(body.stop_token_ids or ()),
        "ignore_eos": body.ignore_eos,
        "truncate": body.truncate_prompt,
        "priority": body.priority,
    }


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _include_usage(body: Sampled) -> bool:
    if body.stream_options is None:
        return False
    if not body.stream:
        raise InvalidRequest("stream_options needs stream = true", param="stream_options")
    return bool(body.stream_options.include_usage)


def _guides(body: Sampled) -> list[Guide]:
    found = []
    if body.guided_json is not None:
        schema = body.guided_json if isinstance(body.guided_json, str) else _encode(body.guided_json).decode()
        found.append(Guide("json_schema", schema))
    if body.guided_regex is not None:
        found.append(Guide("regex", body.guided_regex))
    if body.guided_choice is not None:
        found.append(Guide("choice", _encode(body.guided_choice).decode()))
    if body.guided_grammar is not None:
        found.append(Guide("grammar", body.guided_grammar))
    return found


def _response_guide(body: ChatRequest) -> Guide | None:
    match body.response_format:
        case JsonFormat():
            return Guide("json", "")
        case SchemaFormat(json_schema):
            return Guide("json_schema", _encode(json_schema.schema).decode())
        case _:
            return None


def _prompts(given: str | Sequence[str | int | list[int]]) -> list[str | list[int]]:
    """One for each text or list of token ids."""
    items: list[Any] = [given] if isinstance(given, str) else list(given)
    if items and all(isinstance(item, int) for item in items):
        return [items]
    if len({type(item) for item in items}) > 1:
        raise InvalidRequest(
            "prompt mixes kinds; send texts, or one list of token ids, or lists of token ids", param="prompt"
        )
    for place, item in enumerate(items):
        if not item:
            where = "prompt" if isinstance(given, str) else f"prompt[{place}]"
            raise InvalidRequest(f"{where} is empty; send at least one character or token", param=where)
    if not items:
        raise InvalidRequest("prompt is an empty list; send at least one", param="prompt")
    return items


def _turn(message: Message, place: int) -> Mapping[str, Any]:
    """A message as chat templates expect it: a text, tool arguments as objects, `system` for `developer`."""
    content = message.content
    if isinstance(content, list):
        content = "\n".join(part.text for part in content)
    if content is None and not message.tool_calls:
        raise InvalidRequest(
            f"messages[{place}].content is missing; only an assistant's tool_calls can stand without",
            param=f"messages[{place}].content",
        )
    turn: dict[str, Any] = {
        "role": "system" if message.role == "developer" else message.role,
        "content": content or "",
    }
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.function.name,
                    "arguments": _arguments(
                        call.function.arguments, f"messages[{place}].tool_calls[{number}].function.arguments"
                    ),
                },
            }
            for number, call in enumerate(message.tool_calls)
        ]
    for name in ("name", "tool_call_id", "reasoning_content"):
        value = getattr(message, name)
        if value is not None:
            turn[name] = value
    return turn


def _arguments(text: str, where: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"{where} is not a JSON object: {error}", param=where) from None

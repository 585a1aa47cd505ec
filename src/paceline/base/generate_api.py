"""Wire structs of the generation routes: what is asked. Frozen; unknown fields are refused.

The fields are OpenAI's, vLLM's names for what OpenAI lacks, and `truncate_prompt`, `priority`. `Ignored` lists what
clients send that changes nothing here; everything else is honoured or refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from paceline.base.api import Priority, TokenId

MAX_TOKENS = 1 << 20
"""No context is longer; a larger number is a mistake."""
MAX_CHOICES = 128
"""Answers of one call: prompts times `n`."""
_LONG = 1 << 18

Stop = Annotated[str, Meta(min_length=1, max_length=256)]
Source = Annotated[str, Meta(min_length=1, max_length=_LONG)]
Text = Annotated[str, Meta(min_length=1)]
TokenIds = Annotated[list[TokenId], Meta(min_length=1)]


class Ignored(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What OpenAI's clients may send: accepted, and without effect."""

    user: Annotated[str | None, Meta(description="Accepted for compatibility; not used.")] = None
    store: Annotated[bool | None, Meta(description="Nothing is stored.")] = None
    metadata: Annotated[dict[str, Any] | None, Meta(description="Not kept.")] = None
    service_tier: Annotated[str | None, Meta(description="`priority` is what counts here.")] = None
    safety_identifier: Annotated[str | None, Meta(description="Not used.")] = None
    prompt_cache_key: Annotated[
        str | None, Meta(description="Not needed: equal beginnings are found by themselves.")
    ] = None


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a stream is told."""

    include_usage: Annotated[
        bool | None, Meta(description="A last chunk without choices tells the tokens used.")
    ] = None


class Sampled(Ignored, frozen=True, kw_only=True):
    """What every generation route takes: how tokens are drawn, and when to stop."""

    model: Annotated[str | None, Meta(description="Model id as listed by `/v1/models`.")] = None
    max_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_TOKENS)] | None, Meta(description="Tokens of one answer at most.")
    ] = None
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=2)] | None,
        Meta(description="0 takes the most likely token; 1 if left out."),
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="Draw from the likeliest tokens that sum to this."),
    ] = None
    top_k: Annotated[
        Annotated[int, Meta(ge=-1, le=MAX_TOKENS)] | None,
        Meta(description="Draw from this many of the likeliest tokens; 0 or -1 from all."),
    ] = None
    min_p: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="Leave out tokens less likely than this share of the likeliest."),
    ] = None
    repetition_penalty: Annotated[
        Annotated[float, Meta(gt=0, le=10)] | None,
        Meta(description="Over prompt and answer; above 1 repeats less."),
    ] = None
    presence_penalty: Annotated[
        Annotated[float, Meta(ge=-2, le=2)] | None, Meta(description="Once for each token the answer has.")
    ] = None
    frequency_penalty: Annotated[
        Annotated[float, Meta(ge=-2, le=2)] | None, Meta(description="For each time the answer has a token.")
    ] = None
    seed: Annotated[
        Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | None,
        Meta(description="The same seed gives the same text."),
    ] = None
    logit_bias: Annotated[
        dict[Annotated[int, Meta(ge=0, le=(1 << 31) - 1)], Annotated[float, Meta(ge=-100, le=100)]] | None,
        Meta(description="Added to the logits of token ids."),
    ] = None
    stop: Annotated[
        Stop | Annotated[list[Stop], Meta(max_length=16)] | None,
        Meta(description="The answer ends before any of these; they are not part of it."),
    ] = None
    stop_token_ids: Annotated[
        Annotated[list[TokenId], Meta(max_length=64)] | None,
        Meta(description="The answer ends at any of these."),
    ] = None
    ignore_eos: Annotated[
        bool, Meta(description="Go on behind the model's end of text (for benchmarks).")
    ] = False
    guided_json: Annotated[
        dict[str, Any] | Source | None,
        Meta(description="The answer is JSON of this schema; at most one guide."),
    ] = None
    guided_regex: Annotated[Source | None, Meta(description="The answer matches this expression.")] = None
    guided_choice: Annotated[
        Annotated[list[Text], Meta(min_length=1, max_length=1024)] | None,
        Meta(description="The answer is one of these."),
    ] = None
    guided_grammar: Annotated[Source | None, Meta(description="The answer follows this Lark grammar.")] = None
    stream: Annotated[
        bool | None, Meta(description="Send the answer piece by piece as server-sent events.")
    ] = None
    stream_options: Annotated[
        StreamOptions | None, Meta(description="How a stream is told; only with `stream`.")
    ] = None
    truncate_prompt: Annotated[
        bool, Meta(description="Keep the end of a prompt that is too long; `false` refuses it instead.")
    ] = False
    priority: Annotated[Priority, Meta(description="Scheduling class; low ages into high.")] = "normal"


class CompletionRequest(Sampled, frozen=True, kw_only=True):
    """Body of `POST /v1/completions`."""

    prompt: Annotated[
        str | list[str | TokenId | list[TokenId]],
        Meta(description="A text, a list of texts, one list of token ids, or a list of such lists."),
    ]
    n: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None, Meta(description="Answers for each prompt.")
    ] = None
    best_of: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None,
        Meta(description="Only the value of `n`: every answer that is made is told."),
    ] = None
    echo: Annotated[bool | None, Meta(description="The prompt comes before the answer.")] = None
    logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=20)] | None, Meta(description="Alternatives told for each token.")
    ] = None
    suffix: Annotated[Literal[""] | None, Meta(description="Nothing can be filled in before a suffix.")] = (
        None
    )


class InferenceRequest(Sampled, frozen=True, kw_only=True):
    """Body of `POST /v1/inference`: one prompt, one answer."""

    prompt: Annotated[str | list[TokenId], Meta(description="A text, or a list of token ids.")]


class GenerateInfer(InferenceRequest, frozen=True, kw_only=True, tag_field="task", tag="generate"):
    """Body of `POST /v1/infer` with `task: generate`: the fields of `/v1/inference`."""


class TextPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a message's content. Only text is read here."""

    type: Literal["text"]
    text: str


class CalledFunction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model wanted to be called."""

    name: str
    arguments: Annotated[str, Meta(description="A JSON object, as text.")]


class ToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One call of a tool in an assistant's message."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"
    index: Annotated[int | None, Meta(description="Accepted for compatibility; not used.")] = None


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One turn of a conversation. `null` fields that clients copy from replies are accepted."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str | list[TextPart] | None, Meta(description="A text, or parts of one.")] = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: Annotated[str | None, Meta(description="Given to the template.")] = None
    refusal: Annotated[str | None, Meta(description="Accepted for compatibility; not used.")] = None
    annotations: Annotated[list[Any] | None, Meta(description="As `refusal`.")] = None
    audio: Annotated[None, Meta(description="No audio here.")] = None
    function_call: Annotated[None, Meta(description="`tool_calls` took its place.")] = None


class Function(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A function that the model may ask to be called."""

    name: str
    description: str | None = None
    parameters: Annotated[dict[str, Any] | None, Meta(description="JSON schema of the arguments.")] = None
    strict: Annotated[bool | None, Meta(description="Accepted for compatibility; not used.")] = None


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool that the model may ask for."""

    type: Literal["function"]
    function: Function


class NamedSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What OpenAI puts around a schema."""

    name: str
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """Any text."""


class JsonFormat(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_object"
):
    """Any JSON object."""


class SchemaFormat(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="json_schema"
):
    """JSON of a schema."""

    json_schema: NamedSchema


class ChatRequest(Sampled, frozen=True, kw_only=True):
    """Body of `POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=4096)]
    n: Annotated[Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None, Meta(description="Answers.")] = None
    max_completion_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_TOKENS)] | None, Meta(description="Newer name of `max_tokens`.")
    ] = None
    logprobs: Annotated[bool | None, Meta(description="Tell the log-probability of each token.")] = None
    top_logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=20)] | None,
        Meta(description="Alternatives told for each token; needs `logprobs`."),
    ] = None
    response_format: Annotated[
        TextFormat | JsonFormat | SchemaFormat | None, Meta(description="What the answer must look like.")
    ] = None
    tools: Annotated[
        Annotated[list[Tool], Meta(max_length=128)] | None, Meta(description="Given to the chat template.")
    ] = None
    tool_choice: Annotated[
        Literal["none", "auto"] | None,
        Meta(description="`none` hides the tools; no call can be forced, so nothing else is taken."),
    ] = None
    parallel_tool_calls: Annotated[bool | None, Meta(description="Not used.")] = None
    reasoning_effort: Annotated[str | None, Meta(description="Not used; see `chat_template_kwargs`.")] = None
    verbosity: Annotated[str | None, Meta(description="Not used.")] = None
    chat_template_kwargs: Annotated[
        dict[str, Any] | None, Meta(description="More variables of the chat template, as `enable_thinking`.")
    ] = None


class ScoreBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Body of `POST /v1/score`: `context` and `continuations`, or a `prompt` alone."""

    context: Annotated[
        Text | TokenIds | None, Meta(description="What stands before; a text or token ids.")
    ] = None
    continuations: Annotated[
        Annotated[list[Text | TokenIds], Meta(min_length=1, max_length=MAX_CHOICES)] | None,
        Meta(description="Texts or lists of token ids to compare."),
    ] = None
    prompt: Annotated[Text | TokenIds | None, Meta(description="Score each of its own tokens instead.")] = (
        None
    )
    model: Annotated[str | None, Meta(description="Model id as listed by `/v1/models`.")] = None
    user: Annotated[str | None, Meta(description="Accepted for compatibility; not used.")] = None
    priority: Annotated[Priority, Meta(description="Scheduling class; low ages into high.")] = "normal"

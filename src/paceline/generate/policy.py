"""Settings of the generation service."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from paceline.base.knob import knob
from paceline.flow.breaker import BreakerPolicy

EngineKind = Literal["auto", "torch", "compiled", "openvino-genai", "vllm", "upstream"]
Precision = Literal["auto", "fp32", "bf16", "int8", "int4"]
KvPrecision = Literal["auto", "fp32", "bf16", "int8"]
Device = Literal["auto", "cpu", "cuda"]


class KvPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Memory for the keys and values of running and remembered texts."""

    max_bytes: Annotated[
        int,
        knob(
            "Bytes for keys and values. 0 takes half of the memory that is available once the weights are loaded (on a "
            "GPU: what kv.gpu_memory_fraction leaves beside them), but no more than schedule.max_sequences texts of "
            "full context can use.",
            ge=0,
            le=1 << 50,
            unit="bytes",
        ),
    ] = 0
    precision: Annotated[
        KvPrecision,
        knob(
            "`auto` takes fp32 for fp32 weights and bf16 otherwise; int8 holds twice the tokens of bf16 and costs quality.",
            tune=True,
            quality=True,
            cost="memory",
            grid=("auto", "bf16", "int8"),
        ),
    ] = "auto"
    prefix_cache: Annotated[
        bool,
        knob(
            "Keep the blocks of finished texts, and reuse them for prompts that begin alike.",
            tune=True,
            cost="cpu",
            grid=(True, False),
        ),
    ] = True
    gpu_memory_fraction: Annotated[
        float, knob("Share of the GPU's memory for weights, work space, keys and values.", gt=0, le=1)
    ] = 0.9


class SchedulePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one step computes, and who waits."""

    max_batch_tokens: Annotated[
        int,
        knob(
            "Tokens computed in one step: prompts are cut into chunks of what running texts leave of it. Less gives "
            "running texts steadier tokens, more finishes prompts sooner.",
            ge=16,
            le=1_048_576,
            unit="tokens",
            live=True,
            tune=True,
            cost="latency",
            grid=(128, 256, 512, 1024, 2048),
        ),
    ] = 512
    max_sequences: Annotated[
        int,
        knob(
            "Texts that are generated at the same time; more wait.",
            ge=1,
            le=65_536,
            unit="texts",
            live=True,
            tune=True,
            cost="latency",
            grid=(8, 16, 32, 64, 128),
        ),
    ] = 64
    max_waiting: Annotated[
        int,
        knob(
            "Texts waiting at most; further requests are refused.",
            ge=1,
            le=1_000_000,
            unit="texts",
            live=True,
        ),
    ] = 1024
    max_waiting_tokens: Annotated[
        int,
        knob(
            "Prompt tokens waiting at most; bounds memory when prompts are long.",
            ge=1,
            le=1_000_000_000,
            unit="tokens",
            live=True,
        ),
    ] = 2_000_000
    speculative_tokens: Annotated[
        int,
        knob(
            "Tokens guessed ahead per text from what stands in it already, and checked in one step; 0 switches off. "
            "Answers stay the same.",
            ge=0,
            le=32,
            unit="tokens",
            live=True,
            tune=True,
            cost="cpu",
            grid=(0, 2, 4, 8),
        ),
    ] = 0
    ageing_s: Annotated[
        float,
        knob("Waiting this long raises a text by one priority.", gt=0, le=3600, unit="s", live=True),
    ] = 2.0
    max_prompt_tokens: Annotated[
        int,
        knob(
            "Longer prompts are refused (or cut, where the request asks for it); 0 takes the context.",
            ge=0,
            le=1 << 27,
            unit="tokens",
            live=True,
        ),
    ] = 0
    default_max_tokens: Annotated[
        int,
        knob(
            "Tokens of an answer whose request does not say; 0 goes on to the end of the context.",
            ge=0,
            le=1 << 27,
            unit="tokens",
            live=True,
        ),
    ] = 0
    max_choices: Annotated[
        int, knob("Answers to one prompt (`n`) at most.", ge=1, le=1024, unit="texts", live=True)
    ] = 16


class UpstreamPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An OpenAI-compatible server that answers for us (generate.engine = upstream)."""

    url: Annotated[
        str,
        knob("Its address up to and with /v1, e.g. http://127.0.0.1:8000/v1.", pattern=r"^(https?://.+)?$"),
    ] = ""
    key: Annotated[str, knob("Bearer token sent to it; empty sends none.", secret=True)] = ""
    model: Annotated[str, knob("Model id asked of it; empty takes generate.name.")] = ""
    timeout_s: Annotated[
        float, knob("Time without a byte from it after which a request fails.", gt=0, le=86_400, unit="s")
    ] = 120.0


class GeneratePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model generates, on what engine, in which precision, and how its steps are filled."""

    model: Annotated[
        str,
        knob(
            "Folder of a Llama-family model (config.json, safetensors, tokenizer.json). Empty switches generation off."
        ),
    ] = ""
    name: Annotated[str, knob("Model id clients use; empty takes the folder's name.")] = ""
    engine: Annotated[
        EngineKind,
        knob(
            "What runs the model. `auto` takes our compiled kernels where the processor has the instructions, else our "
            "torch engine; the rest are adapters to others."
        ),
    ] = "auto"
    precision: Annotated[
        Precision,
        knob(
            "Of the weights. `auto` takes bf16, or fp32 where the processor has no bf16 arithmetic; int8 is faster and "
            "int4 smaller still, both cost quality.",
            tune=True,
            quality=True,
            cost="cpu",
            grid=("bf16", "int8"),
        ),
    ] = "auto"
    device: Annotated[Device, knob("`auto` takes the GPU when torch sees one.")] = "auto"
    threads: Annotated[
        int,
        knob(
            "Threads of the engine; 0 takes all cores of this process.",
            ge=0,
            le=4096,
            tune=True,
            cost="cpu",
            grid=(0, 1, 2, 4, 8),
        ),
    ] = 0
    context_tokens: Annotated[
        int, knob("Prompt and answer together; 0 takes the model's own.", ge=0, le=1 << 27, unit="tokens")
    ] = 0
    window_tokens: Annotated[
        int,
        knob(
            "Each token attends to this many before it at most, which bounds the cost of long texts (512 is a good "
            "value) and costs quality; 0 switches off.",
            ge=0,
            le=1 << 27,
            unit="tokens",
            quality=True,
        ),
    ] = 0
    kv: KvPolicy = KvPolicy()
    schedule: SchedulePolicy = SchedulePolicy()
    breaker: BreakerPolicy = BreakerPolicy()
    upstream: UpstreamPolicy = UpstreamPolicy()

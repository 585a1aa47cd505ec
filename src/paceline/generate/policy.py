"""Settings of the generation service."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from paceline.base.knob import knob
from paceline.flow.breaker import BreakerPolicy
from paceline.generate.adapters.upstream.policy import UpstreamPolicy
from paceline.generate.admission import AdmissionPolicy
from paceline.generate.scheduler import SchedulePolicy

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
    gpu_memory_fraction: Annotated[
        float, knob("Share of the GPU's memory for weights, work space, keys and values.", gt=0, le=1)
    ] = 0.9


class GeneratePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model generates, on what engine, in which precision, and how its steps are filled."""

    model: Annotated[
        str,
        knob(
            "Folder of a Llama-family model (config.json, safetensors, tokenizer.json), or `demo` for the small model that "
            "comes with Paceline. Empty switches generation off."
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
    kv: KvPolicy = KvPolicy()
    schedule: SchedulePolicy = SchedulePolicy()
    admission: AdmissionPolicy = AdmissionPolicy()
    breaker: BreakerPolicy = BreakerPolicy()
    upstream: UpstreamPolicy = UpstreamPolicy()

    @property
    def on(self) -> bool:
        """Whether anything generates."""
        return bool(self.model) or self.engine == "upstream"

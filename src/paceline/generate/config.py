"""A model's architecture, read from its config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

import msgspec

from paceline.base.errors import ConfigError
from paceline.generate.json_fields import JsonFields

ARCHITECTURES: Final = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
)
"""What our engines compute. SmolLM calls itself Llama."""

_ELSEWHERE: Final = "serve it through another engine (generate.engine = vllm or upstream)"


ScalingKind = Literal["linear", "llama3", "yarn"]


class RopeScaling(msgspec.Struct, frozen=True):
    """How rotary frequencies are stretched for long contexts."""

    kind: ScalingKind
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_positions: int = 8192
    attention_factor: float = 1.0
    """Cosines and sines are multiplied by it (yarn)."""
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    """The ramp between both betas begins and ends at whole dimensions (yarn)."""


class ModelConfig(msgspec.Struct, frozen=True):
    """A decoder of the Llama family: Llama, SmolLM, Mistral, Qwen2, Qwen3."""

    architecture: str
    """As config.json names it, e.g. LlamaForCausalLM."""
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_positions: int
    """Context length in tokens."""
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    tied_embeddings: bool = False
    """The output layer is the embedding table."""
    qkv_bias: bool = False
    """Qwen2."""
    qk_norm: bool = False
    """Qwen3: queries and keys are normalised per head."""
    sliding_window: int | None = None
    """Mistral: a row attends to this many positions at most, itself included."""
    eos_token_ids: tuple[int, ...] = ()
    """Ascending; of config.json and generation_config.json together."""
    bos_token_id: int | None = None


def read_config(folder: Path) -> ModelConfig:
    """The architecture that `folder`'s config.json describes.

    Raises ConfigError, one line with the value, what is supported and the way out, for a folder without config.json,
    an architecture that we do not compute, or values that cannot be.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"model folder {folder} does not exist; set generate.model to a folder with config.json, safetensors "
            "weights and tokenizer.json",
            param="generate.model",
        )
    fields = JsonFields.read(folder / "config.json")
    architecture = _architecture(fields)
    hidden = fields.whole("hidden_size", le=1 << 20)
    heads = fields.whole("num_attention_heads", le=4096)
    head_dim = fields.whole("head_dim", 128 if architecture.startswith("Qwen3") else hidden // heads, le=4096)
    kv_heads = fields.whole("num_key_value_heads", heads, le=4096)
    if heads % kv_heads:
        raise fields.wrong("num_key_value_heads", f"a divisor of num_attention_heads {heads}")
    if head_dim % 2:
        raise ConfigError(
            f"{fields.file}: heads of {head_dim} dimensions cannot be rotated in pairs; head_dim must be even"
        )
    layers = fields.whole("num_hidden_layers", le=4096)
    max_positions = fields.whole("max_position_embeddings", 2048, le=1 << 27)
    _refuse_variants(fields)
    rope = fields.inner("rope_parameters") or fields.inner("rope_scaling") or fields.empty()
    theta = rope if rope.has("rope_theta") else fields
    vocabulary = fields.whole("vocab_size", le=1 << 24)
    return ModelConfig(
        architecture=architecture,
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=fields.whole("intermediate_size", le=1 << 24),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        max_positions=max_positions,
        norm_eps=fields.number("rms_norm_eps", 1e-6, gt=0, le=1),
        rope_theta=theta.number("rope_theta", 10_000.0, gt=1, le=1e12),
        rope_scaling=_rope_scaling(rope, max_positions),
        tied_embeddings=fields.flag("tie_word_embeddings", default=False),
        qkv_bias=architecture == "Qwen2ForCausalLM",
        qk_norm=architecture == "Qwen3ForCausalLM",
        sliding_window=_sliding_window(fields, architecture, layers),
        eos_token_ids=_eos_token_ids(folder, fields, vocabulary),
        bos_token_id=fields.whole("bos_token_id", ge=0, le=vocabulary - 1)
        if fields.has("bos_token_id")
        else None,
    )


def _architecture(fields: JsonFields) -> str:
    named = fields.value("architectures")
    name = named[0] if isinstance(named, list) and named else None
    if name not in ARCHITECTURES:
        shown = repr(name) if name else f"of model_type {fields.value('model_type')!r}, unnamed,"
        raise ConfigError(
            f"{fields.file}: architecture {shown} is not supported ({', '.join(ARCHITECTURES)} are); {_ELSEWHERE}",
            param="generate.model",
        )
    return str(name)


def _refuse_variants(fields: JsonFields) -> None:
    """Raise for what config.json may ask of these architectures and we would compute wrongly."""
    expected: Mapping[str, Any] = {
        "hidden_act": "silu",
        "mlp_bias": False,
        "attention_bias": False,
        "quantization_config": None,
        "partial_rotary_factor": 1.0,
    }
    for name, supported in expected.items():
        if fields.has(name) and fields.value(name) != supported:
            shown = msgspec.json.encode(fields.value(name)).decode()
            raise ConfigError(
                f"{fields.file}: {name} = {shown[:80]} is not supported ({name} = "
                f"{msgspec.json.encode(supported).decode()} is); {_ELSEWHERE}",
                param="generate.model",
            )


def _rope_scaling(rope: JsonFields, max_positions: int) -> RopeScaling | None:
    kind = rope.value("rope_type") or rope.value("type") or "default"
    if kind == "default":
        return None
    if kind not in get_args(ScalingKind):
        raise ConfigError(
            f"{rope.file}: rope_type {kind!r} is not supported (default, linear, llama3, yarn are); {_ELSEWHERE}",
            param="generate.model",
        )
    factor = rope.number("factor", gt=0, le=1e6)
    scaling = RopeScaling(
        kind=cast("ScalingKind", kind),
        factor=factor,
        original_positions=rope.whole("original_max_position_embeddings", max_positions, le=1 << 27),
    )
    if kind == "linear":
        return scaling
    if kind == "llama3":
        low = rope.number("low_freq_factor", 1.0, gt=0, le=1e6)
        high = rope.number("high_freq_factor", 4.0, gt=0, le=1e6)
        if high <= low:
            raise rope.wrong("high_freq_factor", f"above low_freq_factor {low}")
        return msgspec.structs.replace(scaling, low_freq_factor=low, high_freq_factor=high)
    return msgspec.structs.replace(
        scaling,
        beta_fast=rope.number("beta_fast", 32.0, gt=0, le=1e6),
        beta_slow=rope.number("beta_slow", 1.0, gt=0, le=1e6),
        truncate=rope.flag("truncate", default=True),
        attention_factor=_attention_factor(rope, factor),
    )


def _attention_factor(rope: JsonFields, factor: float) -> float:
    """YaRN's correction of the attention's temperature, given or by its paper's rule."""
    if rope.has("attention_factor"):
        return rope.number("attention_factor", gt=0, le=1e3)

    def scale(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    if rope.value("mscale") and rope.value("mscale_all_dim"):
        return scale(rope.number("mscale", gt=0, le=1e3)) / scale(rope.number("mscale_all_dim", gt=0, le=1e3))
    return scale(1.0)


def _sliding_window(fields: JsonFields, architecture: str, layers: int) -> int | None:
    """The window of every layer; raises where some layers have one and others do not."""
    if architecture == "LlamaForCausalLM" or not fields.has("sliding_window"):
        return None
    if architecture.startswith("Qwen") and not fields.flag("use_sliding_window", default=False):
        return None
    local = layers
    if architecture.startswith("Qwen"):
        kinds = fields.value("layer_types")
        if isinstance(kinds, list):
            local = sum(kind == "sliding_attention" for kind in kinds)
        else:
            local = max(0, layers - fields.whole("max_window_layers", 28, ge=0, le=1 << 20))
    if local not in (0, layers):
        raise ConfigError(
            f"{fields.file}: {local} of {layers} layers have a sliding window; supported are all or none; {_ELSEWHERE}",
            param="generate.model",
        )
    return fields.whole("sliding_window", le=1 << 27) if local else None


def _eos_token_ids(folder: Path, fields: JsonFields, vocabulary: int) -> tuple[int, ...]:
    """Ids that end a text, of both files: chat models often name the end of a turn in the second only."""
    sources = [fields]
    if (folder / "generation_config.json").is_file():
        sources.append(JsonFields.read(folder / "generation_config.json"))
    found: set[int] = set()
    for source in sources:
        value = source.value("eos_token_id")
        if value is None:
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, bool) or not isinstance(each, int) or not 0 <= each < vocabulary:
                raise source.wrong("eos_token_id", f"ids from 0 to {vocabulary - 1}")
            found.add(each)
    return tuple(sorted(found))

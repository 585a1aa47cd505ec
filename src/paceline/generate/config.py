"""A model's architecture, read from its config.json."""

from __future__ import annotations

from typing import Literal

import msgspec


class RopeScaling(msgspec.Struct, frozen=True):
    """How rotary frequencies are stretched for long contexts."""

    kind: Literal["linear", "llama3", "yarn"]
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_positions: int = 8192
    attention_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0


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
    bos_token_id: int | None = None

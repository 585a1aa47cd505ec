"""Decoders small enough to make in a test: random weights, written by transformers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

VOCABULARY = 307

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"num_key_value_heads": 2}),
    "llama3": (
        "Llama",
        {
            "num_key_value_heads": 4,
            "tie_word_embeddings": True,
            "max_position_embeddings": 256,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10_000.0,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "linear": (
        "Llama",
        {
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0},
        },
    ),
    "mistral": ("Mistral", {"num_key_value_heads": 2, "head_dim": 24, "sliding_window": 7}),
    "qwen2": ("Qwen2", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen3": (
        "Qwen3",
        {
            "num_key_value_heads": 2,
            "head_dim": 32,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10_000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    ),
}
"""Class prefix and configuration, by the name tests use."""


def tiny_model(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A transformers model in fp32 with lively random weights: norms and biases differ from 1 and 0."""
    prefix, settings = KINDS[kind]
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    config = getattr(transformers, f"{prefix}Config")(**(sizes | settings | changes))
    torch.manual_seed(seed)
    model = getattr(transformers, f"{prefix}ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_(1.0 + 0.2 * torch.randn_like(parameter))
            else:
                parameter.copy_(0.12 * torch.randn_like(parameter))
    return model


def save_tiny(
    kind: str, folder: Path, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any
) -> Any:
    """Write the model to `folder` in `dtype` and return it as it reads back, in fp32, for comparison."""
    transformers.utils.logging.disable_progress_bar()
    model = tiny_model(kind, seed, **changes).to(dtype)
    model.save_pretrained(folder)
    return type(model).from_pretrained(folder, dtype=torch.float32).eval()

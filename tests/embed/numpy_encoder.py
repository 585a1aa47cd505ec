"""The twin of `paceline.embed.graph`: one text at a time, plain numpy, written from the papers' formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

_ERF = np.vectorize(math.erf)


def hidden_states(
    config: Mapping[str, Any], weights: Mapping[str, np.ndarray], ids: np.ndarray
) -> np.ndarray:
    """Last hidden state (tokens, width) of one text."""
    kind = config["model_type"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    offset = 2 if kind in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0
    x = weights["embeddings.word_embeddings.weight"][ids]
    x = x + weights["embeddings.position_embeddings.weight"][np.arange(len(ids)) + offset]
    if kind not in ("distilbert", "mpnet"):
        x = x + weights["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    heads = config["n_heads"] if kind == "distilbert" else config["num_attention_heads"]
    layers = config["n_layers"] if kind == "distilbert" else config["num_hidden_layers"]
    relative = np.zeros((heads, len(ids), len(ids)), np.float32)
    if kind == "mpnet":
        for query in range(len(ids)):
            for key in range(len(ids)):
                table = weights["encoder.relative_attention_bias.weight"]
                relative[:, query, key] = table[slow_bucket(key - query)]
    for n in range(layers):
        if kind == "distilbert":
            layer = f"transformer.layer.{n}"
            names = [f"{layer}.attention.{part}_lin" for part in ("q", "k", "v", "out")]
            names += [
                f"{layer}.sa_layer_norm",
                f"{layer}.ffn.lin1",
                f"{layer}.ffn.lin2",
                f"{layer}.output_layer_norm",
            ]
        elif kind == "mpnet":
            layer = f"encoder.layer.{n}"
            names = [f"{layer}.attention.attn.{part}" for part in "qkvo"]
            names += [f"{layer}.{part}" for part in ("attention.LayerNorm", "intermediate.dense")]
            names += [f"{layer}.{part}" for part in ("output.dense", "output.LayerNorm")]
        else:
            layer = f"encoder.layer.{n}"
            names = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
            names += [f"{layer}.attention.output.{part}" for part in ("dense", "LayerNorm")]
            names += [
                f"{layer}.{part}" for part in ("intermediate.dense", "output.dense", "output.LayerNorm")
            ]
        q, k, v = (linear(x, name).reshape(len(ids), heads, -1).swapaxes(0, 1) for name in names[:3])
        scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]) + relative
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attended = (scores / scores.sum(axis=-1, keepdims=True)) @ v
        x = norm(x + linear(attended.swapaxes(0, 1).reshape(len(ids), -1), names[3]), names[4])
        up = linear(x, names[5])
        x = norm(x + linear(up * 0.5 * (1 + _ERF(up / np.sqrt(2))), names[6]), names[7])
    return x.astype(np.float32)


def slow_bucket(distance: int) -> int:
    """T5's relative position bucket with 32 buckets and a farthest distance of 128."""
    bucket = 16 if distance > 0 else 0
    size = abs(distance)
    if size < 8:
        return bucket + size
    return bucket + min(15, 8 + int(math.log(size / 8) / math.log(128 / 8) * 8))

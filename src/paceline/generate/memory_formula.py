"""Bytes of weights, keys and values by formula: what a runner will hold, said before it is opened."""

from __future__ import annotations

from typing import Final

from paceline.generate.config import ModelConfig
from paceline.generate.quantize import group_size
from paceline.generate.runner import BLOCK_TOKENS

NUMBER_BYTES: Final = {"fp32": 4, "bf16": 2, "int8": 1}
_SCALE_BYTES: Final = 4


def kv_block_bytes(config: ModelConfig, kv_precision: str, layers: int | None = None) -> int:
    """Of one block over so many layers (all by default): keys and values, with a scale per token and head in int8."""
    head = config.head_dim * NUMBER_BYTES[kv_precision] + (_SCALE_BYTES if kv_precision == "int8" else 0)
    return (layers or config.layers) * 2 * BLOCK_TOKENS * config.kv_heads * head


def linear_weights(config: ModelConfig) -> list[tuple[int, int]]:
    """(outputs, inputs) of one layer's fused products: query-key-value, attended, gate-up, down."""
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return [
        (queries + 2 * keys, config.hidden_size),
        (config.hidden_size, queries),
        (2 * config.intermediate_size, config.hidden_size),
        (config.hidden_size, config.intermediate_size),
    ]


def weights_bytes(config: ModelConfig, precision: str, *, stored_bytes: int) -> int:
    """Of a whole model: packed products, float32 vectors, and the embedding table as stored.

    `stored_bytes` is the size of a number in the checkpoint. An int8 product has a scale and a sum of codes (4 bytes
    each) for each output; an int4 product half a byte for each weight and two bf16 for each group, its outputs
    rounded up to 16. The output layer of an int4 model is int8.
    """

    def product(outputs: int, inputs: int, kind: str) -> int:
        group = group_size(inputs) if kind == "int4" else None
        if group is not None:
            return -(-outputs // 16) * 16 * (inputs // 2 + inputs // group * 4)
        if kind in ("int8", "int4"):
            return outputs * (inputs + 8)
        return outputs * inputs * NUMBER_BYTES[kind]

    hidden, heads = config.hidden_size, config.heads + config.kv_heads
    vectors = 2 * hidden + (heads * config.head_dim if config.qk_norm else 0)
    vectors += (heads + config.kv_heads) * config.head_dim if config.qkv_bias else 0
    layer = sum(product(*shape, precision) for shape in linear_weights(config)) + 4 * vectors
    table = config.vocab_size * hidden * stored_bytes
    head = product(config.vocab_size, hidden, "int8" if precision == "int4" else precision)
    return config.layers * layer + 4 * hidden + table + head

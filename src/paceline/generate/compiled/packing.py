"""Weights as the micro-kernels read them: see `tiles` for a panel.

A matrix (columns, values) becomes [columns / 32][values / v][32][v], v values in four bytes; columns that are missing in
the last panel are zeros. In int8 the bytes have 128 added, and each column has a scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from paceline.generate.checkpoint import Checkpoint
from paceline.generate.compiled.shapes import Shapes, fill_heads, fill_rows
from paceline.generate.compiled.tiles import PANEL
from paceline.generate.config import ModelConfig
from paceline.generate.quantize import quantize_rows

LAYOUT_VERSION: Final = "1"
"""Raise when the layout changes: files of another are made again."""

NUMBER_BYTES: Final = {"int8": 1, "bf16": 2, "fp32": 4}


def panels_of(matrix: np.ndarray) -> np.ndarray:
    """A matrix (columns, values) of 1, 2 or 4 bytes each, in panels, flat."""
    held = 4 // matrix.itemsize
    filled = fill_rows(matrix, -(-len(matrix) // PANEL) * PANEL)
    cut = filled.reshape(len(filled) // PANEL, PANEL, -1, held)
    return np.ascontiguousarray(cut.transpose(0, 2, 1, 3)).reshape(-1)


def bfloat16_bits(values: np.ndarray) -> np.ndarray:
    """float32 as bfloat16 in uint16, to nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def pack(matrix: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """A float32 matrix (columns, values) in panels, and the scales of the filled columns (int8; else none)."""
    if precision == "fp32":
        return panels_of(matrix), np.zeros(0, np.float32)
    if precision == "bf16":
        return panels_of(bfloat16_bits(matrix)), np.zeros(0, np.float32)
    codes, scales = quantize_rows(matrix)
    packed = panels_of(codes.view(np.uint8) ^ 0x80)  # codes + 128
    return packed, fill_rows(scales, -(-len(scales) // PANEL) * PANEL)


def interleave(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Sixteen columns of the gate, the same sixteen of up, and so on: both halves of a value in one panel."""
    half = PANEL // 2
    pairs = np.stack((gate.reshape(-1, half, gate.shape[1]), up.reshape(-1, half, up.shape[1])), axis=1)
    return pairs.reshape(-1, gate.shape[1])


Tensors = dict[str, np.ndarray]
"""Packed matrices and float32 vectors, by the names of `layout.LAYER` and `layout.MODEL`."""


def packed_parts(checkpoint: Checkpoint, precision: str) -> Iterator[tuple[str, Callable[[], Tensors]]]:
    """What the kernels need, a layer at a time: a prefix for the names, and how it is made."""
    for number in range(checkpoint.config.layers):
        yield f"{number}.", lambda number=number: _layer(checkpoint, precision, number)  # type: ignore[misc]
    yield "", lambda: _outside(checkpoint, precision)


def _layer(checkpoint: Checkpoint, precision: str, number: int) -> Tensors:
    config, shapes = checkpoint.config, Shapes.of(checkpoint.config)
    prefix = f"model.layers.{number}."

    def read(name: str) -> np.ndarray:
        return checkpoint.float32(prefix + name)

    def inner(name: str) -> np.ndarray:
        return fill_rows(read(f"mlp.{name}_proj.weight"), shapes.inner)

    tensors: Tensors = {
        "attention_norm": read("input_layernorm.weight"),
        "mlp_norm": read("post_attention_layernorm.weight"),
    }
    if config.qkv_bias:
        bias = _fused(config, lambda part: read(f"self_attn.{part}_proj.bias"))
        tensors["qkv_bias"] = fill_rows(bias, -(-len(bias) // PANEL) * PANEL)
    if config.qk_norm:
        tensors["query_norm"] = fill_heads(read("self_attn.q_norm.weight"), config)
        tensors["key_norm"] = fill_heads(read("self_attn.k_norm.weight"), config)
    attended = fill_heads(np.ascontiguousarray(read("self_attn.o_proj.weight").T), config).T
    down = fill_rows(np.ascontiguousarray(read("mlp.down_proj.weight").T), shapes.inner).T
    matrices = {
        "qkv": _fused(config, lambda part: read(f"self_attn.{part}_proj.weight")),
        "attended": np.ascontiguousarray(attended),
        "gate_up": interleave(inner("gate"), inner("up")),
        "down": np.ascontiguousarray(down),
    }
    for name, matrix in matrices.items():
        tensors[name], tensors[f"{name}_scales"] = pack(matrix, precision)
    return tensors


def _fused(config: ModelConfig, read: Callable[[str], np.ndarray]) -> np.ndarray:
    """Queries, keys and values one behind the other, heads filled."""
    return np.concatenate([fill_heads(read(part), config) for part in ("q", "k", "v")])


def _outside(checkpoint: Checkpoint, precision: str) -> Tensors:
    """What belongs to no layer; the embedding table is read where the checkpoint has it."""
    tied = checkpoint.config.tied_embeddings
    matrix = checkpoint.float32("model.embed_tokens.weight" if tied else "lm_head.weight")
    output, scales = pack(matrix, precision)
    return {
        "final_norm": checkpoint.float32("model.norm.weight"),
        "output": output,
        "output_scales": scales,
    }

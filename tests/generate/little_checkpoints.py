"""Checkpoints of random numbers, written without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from paceline.generate.checkpoint import expected_shapes
from paceline.generate.config import read_config

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 75,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def random_tensors(folder: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """Every tensor that the folder's config.json implies, in float32."""
    rng = np.random.default_rng(seed)
    shapes = expected_shapes(read_config(folder))
    return {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}


def write_checkpoint(folder: Path, shards: int = 1, seed: int = 0, **changes: Any) -> dict[str, np.ndarray]:
    """Fill `folder` with config.json and weights in one file or several; returns the tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    tensors = random_tensors(folder, seed)
    if shards == 1:
        save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
        return tensors
    placed: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        mine = {
            name: tensor for index, (name, tensor) in enumerate(tensors.items()) if index % shards == number
        }
        save_file(mine, str(folder / file))
        placed |= dict.fromkeys(mine, file)
    write_index(folder, placed)
    return tensors


def write_index(folder: Path, placed: dict[str, Any]) -> None:
    """model.safetensors.index.json with this weight map."""
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))


def write_raw(file: Path, header: dict[str, Any], numbers: bytes) -> None:
    """A safetensors file with whatever header."""
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + numbers)

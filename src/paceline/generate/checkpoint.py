"""The weights of a model folder: safetensors files, mapped into memory, nothing copied until it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, cast, get_args

import msgspec
import numpy as np
import xxhash

from paceline.base.errors import ConfigError
from paceline.generate.config import ModelConfig, read_config
from paceline.generate.json_fields import JsonFields
from paceline.generate.safetensors_file import SafetensorsFile

Dtype = Literal["F32", "F16", "BF16"]

_SAMPLES: Final = 64
_SAMPLE_BYTES: Final = 16384


class WeightTensor(msgspec.Struct, frozen=True):
    """One tensor as it is stored."""

    dtype: Dtype
    shape: tuple[int, ...]
    data: np.ndarray
    """A view of the file in `shape`; BF16 as uint16. Never write to it: others read the same pages."""


class Checkpoint:
    """A folder's configuration and weights, checked against each other."""

    def __init__(self, config: ModelConfig, homes: Mapping[str, SafetensorsFile], digest: str) -> None:
        """Use `open`."""
        self.config = config
        self.digest = digest
        """32 hex digits of the files' headers and 64 samples of 16 KiB of each file, whatever their names and times.

        Any training step changes every sample; a single number changed by hand between two samples is not seen.
        """
        self._homes = homes
        self._files = {home.path: home for home in homes.values()}

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """Map the weights of `folder`: model.safetensors, or the shards of model.safetensors.index.json.

        Every tensor that config.json implies must be there, in its shape, inside its file; others are ignored.
        Raises ConfigError that names file, sizes and the way out.
        """
        config = read_config(folder)
        homes: dict[str, SafetensorsFile] = {}
        digest = xxhash.xxh3_128()
        for path, placed in sorted(_files(folder).items()):
            file = SafetensorsFile(path)
            for name in placed:
                if name not in file.entries:
                    raise ConfigError(
                        f"{path} has no tensor {name}, which model.safetensors.index.json places there; copy the shards "
                        "and the index of one model",
                        param="generate.model",
                    )
            homes |= dict.fromkeys(placed or file.entries, file)
            _add_to_digest(digest, file)
        for name, shape in expected_shapes(config).items():
            _check(folder, name, shape, homes.get(name))
        return cls(config, homes, digest.hexdigest())

    @property
    def names(self) -> tuple[str, ...]:
        """Of all tensors, in the order of the files."""
        return tuple(self._homes)

    @property
    def nbytes(self) -> int:
        """Of the files."""
        return sum(file.nbytes for file in self._files.values())

    def get(self, name: str) -> WeightTensor:
        """The tensor as it is stored; KeyError when there is none."""
        entry = self._homes[name].entries[name]
        return WeightTensor(cast("Dtype", entry.dtype), entry.shape, self._homes[name].view(name))

    def float32(self, name: str) -> np.ndarray:
        """A copy of the tensor in float32."""
        tensor = self.get(name)
        if tensor.dtype == "BF16":  # the upper half of a float32, a type that numpy does not have
            wide = tensor.data.astype(np.uint32)
            wide <<= 16
            return wide.view(np.float32)
        return tensor.data.astype(np.float32)

    def forget(self) -> None:
        """Let the kernel take back pages that were only read to be repacked; they are read again when touched."""
        for file in self._files.values():
            file.forget()


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor that a model of this architecture has, by name; a tied output layer has none of its own."""
    hidden, inner = config.hidden_size, config.intermediate_size
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, hidden)}
    for n in range(config.layers):
        layer = f"model.layers.{n}"
        shapes[f"{layer}.input_layernorm.weight"] = (hidden,)
        for part, width in (("q", queries), ("k", keys), ("v", keys)):
            shapes[f"{layer}.self_attn.{part}_proj.weight"] = (width, hidden)
            if config.qkv_bias:
                shapes[f"{layer}.self_attn.{part}_proj.bias"] = (width,)
        if config.qk_norm:
            shapes[f"{layer}.self_attn.q_norm.weight"] = (config.head_dim,)
            shapes[f"{layer}.self_attn.k_norm.weight"] = (config.head_dim,)
        shapes[f"{layer}.self_attn.o_proj.weight"] = (hidden, queries)
        shapes[f"{layer}.post_attention_layernorm.weight"] = (hidden,)
        shapes[f"{layer}.mlp.gate_proj.weight"] = (inner, hidden)
        shapes[f"{layer}.mlp.up_proj.weight"] = (inner, hidden)
        shapes[f"{layer}.mlp.down_proj.weight"] = (hidden, inner)
    shapes["model.norm.weight"] = (hidden,)
    if not config.tied_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, hidden)
    return shapes


def _files(folder: Path) -> dict[Path, list[str]]:
    """The safetensors files, each with the tensors that the index expects of it (none: whatever it has)."""
    single = folder / "model.safetensors"
    if single.is_file():
        return {single: []}
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        other = sorted(path.name for path in folder.glob("*.bin"))
        aside = f" ({other[0]} is a pickle, which may run code when opened)" if other else ""
        raise ConfigError(
            f"{folder} has neither model.safetensors nor model.safetensors.index.json{aside}; save the model as "
            "safetensors (transformers: model.save_pretrained(folder))",
            param="generate.model",
        )
    listed = JsonFields.read(index).inner("weight_map")
    files: dict[Path, list[str]] = {}
    for name, file in listed.items() if listed else ():
        if not isinstance(file, str) or Path(file).name != file:
            raise ConfigError(
                f"{index} places tensor {name} in {file!r}, which is not the name of a file in its folder; copy it again",
                param="generate.model",
            )
        if not (folder / file).is_file():
            raise ConfigError(
                f"{index} places tensor {name} in {file}, which is not in {folder}; copy the missing shard there",
                param="generate.model",
            )
        files.setdefault(folder / file, []).append(name)
    if not files:
        raise ConfigError(f"{index} lists no tensors under weight_map; copy it again", param="generate.model")
    return files


def _check(folder: Path, name: str, shape: tuple[int, ...], file: SafetensorsFile | None) -> None:
    """Raise when a tensor that config.json implies is missing, of another shape, or of a type we do not read."""
    if file is None:
        raise ConfigError(
            f"the safetensors files in {folder} have no tensor {name}, which config.json implies; copy the weights that "
            "belong to this config.json",
            param="generate.model",
        )
    entry = file.entries[name]
    if entry.shape != shape:
        raise ConfigError(
            f"{file.path}: tensor {name} has shape {list(entry.shape)}, config.json implies {list(shape)}; copy the "
            "weights that belong to this config.json",
            param="generate.model",
        )
    if entry.dtype not in get_args(Dtype):
        raise ConfigError(
            f"{file.path}: tensor {name} has type {entry.dtype} ({', '.join(get_args(Dtype))} are supported); take the "
            "model's unquantised weights and set generate.precision instead",
            param="generate.model",
        )


def _add_to_digest(digest: xxhash.xxh3_128, file: SafetensorsFile) -> None:
    """Size, header and evenly spaced pieces of one file."""
    digest.update(file.nbytes.to_bytes(8, "little") + file.head)
    numbers = file.numbers
    last = max(0, len(numbers) - _SAMPLE_BYTES)
    for number in range(_SAMPLES):
        offset = last * number // (_SAMPLES - 1)
        digest.update(numbers[offset : offset + _SAMPLE_BYTES])

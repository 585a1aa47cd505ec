"""The weights of a model folder: safetensors files, mapped into memory, nothing copied until it is asked for."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import xxhash

from paceline.base.errors import ConfigError
from paceline.generate.config import ModelConfig, read_config
from paceline.generate.json_fields import JsonFields

Dtype = Literal["F32", "F16", "BF16"]

_NUMPY: Final[dict[str, np.dtype[Any]]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_LENGTH_BYTES: Final = 8
_SAMPLES: Final = 64
_SAMPLE_BYTES: Final = 16384


class WeightTensor(msgspec.Struct, frozen=True):
    """One tensor as it is stored."""

    dtype: Dtype
    shape: tuple[int, ...]
    data: np.ndarray
    """A view of the file in `shape`; BF16 as uint16. Never write to it: others read the same pages."""


class _Place(msgspec.Struct, frozen=True):
    """Where a tensor lies."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    """Bytes from the start of the file."""


class Checkpoint:
    """A folder's configuration and weights, checked against each other."""

    def __init__(
        self,
        config: ModelConfig,
        places: Mapping[str, _Place],
        maps: Mapping[Path, mmap.mmap],
        digest: str,
    ) -> None:
        """Use `open`."""
        self.config = config
        self.digest = digest
        """32 hex digits of the files' headers and 64 samples of 16 KiB of each file, whatever their names and times.

        Any training step changes every sample; a single number changed by hand between two samples is not seen.
        """
        self._places = places
        self._maps = maps

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """Map the weights of `folder`: model.safetensors, or the shards of model.safetensors.index.json.

        Every tensor that config.json implies must be there, in its shape, inside its file; others are ignored.
        Raises ConfigError that names file, sizes and the way out.
        """
        config = read_config(folder)
        places: dict[str, _Place] = {}
        maps: dict[Path, mmap.mmap] = {}
        digest = xxhash.xxh3_128()
        for file, wanted in sorted(_files(folder).items()):
            mapped = maps[file] = _map(file)
            start, header = _header(file, mapped)
            found = _tensors(file, mapped, start, header)
            for name in wanted:
                if name not in found:
                    raise ConfigError(
                        f"{file} has no tensor {name}, which model.safetensors.index.json places there; copy the shards "
                        "and the index of one model",
                        param="generate.model",
                    )
            places |= {name: found[name] for name in wanted or found}
            _add_to_digest(digest, mapped, start)
        for name, shape in expected_shapes(config).items():
            _check(folder, name, shape, places.get(name))
        return cls(config, places, maps, digest.hexdigest())

    @property
    def names(self) -> tuple[str, ...]:
        """Of all tensors, in the order of the files."""
        return tuple(self._places)

    @property
    def nbytes(self) -> int:
        """Of the files."""
        return sum(len(mapped) for mapped in self._maps.values())

    def get(self, name: str) -> WeightTensor:
        """The tensor as it is stored; KeyError when there is none."""
        place = self._places[name]
        mapped = self._maps[place.file]
        count = int(np.prod(place.shape, dtype=np.int64))
        data = np.frombuffer(mapped, _NUMPY[place.dtype], count, place.offset).reshape(place.shape)
        return WeightTensor(place.dtype, place.shape, data)  # type: ignore[arg-type]  # checked when mapped

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
        for mapped in self._maps.values():
            mapped.madvise(mmap.MADV_DONTNEED)


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


def _map(file: Path) -> mmap.mmap:
    try:
        with file.open("rb") as stream:
            # Private rather than read-only: torch complains about arrays that it could not write to, though it never does.
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise ConfigError(
            f"{file} cannot be read ({error}); check the file and its permissions", param="generate.model"
        ) from error


def _header(file: Path, mapped: mmap.mmap) -> tuple[int, dict[str, Any]]:
    """Where the numbers begin, and what lies there: 8 bytes of length, then JSON."""
    start = _LENGTH_BYTES + int.from_bytes(mapped[:_LENGTH_BYTES], "little")
    if start > len(mapped):
        raise ConfigError(
            f"{file} has {len(mapped)} bytes, its header alone should end at byte {start}; it is cut short or not a "
            "safetensors file, copy it again",
            param="generate.model",
        )
    try:
        header = msgspec.json.decode(mapped[_LENGTH_BYTES:start], type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{file} is not a safetensors file ({error}); copy it again", param="generate.model"
        ) from error
    header.pop("__metadata__", None)
    return start, header


def _tensors(file: Path, mapped: mmap.mmap, start: int, header: dict[str, Any]) -> dict[str, _Place]:
    """All floating-point tensors of a file, each checked to lie within it."""
    places: dict[str, _Place] = {}
    for name, entry in header.items():
        try:
            dtype, shape = str(entry["dtype"]), tuple(int(size) for size in entry["shape"])
            first, last = (int(offset) for offset in entry["data_offsets"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{file}: the header's entry of tensor {name} is malformed ({error!r}); copy the file again",
                param="generate.model",
            ) from error
        if start + last > len(mapped):
            raise ConfigError(
                f"{file} has {len(mapped)} bytes but tensor {name} ends at byte {start + last}; the file is cut short, "
                "copy it again",
                param="generate.model",
            )
        if dtype not in _NUMPY:
            places[name] = _Place(file, dtype, shape, 0)
            continue
        size = int(np.prod(shape, dtype=np.int64)) * _NUMPY[dtype].itemsize
        if first < 0 or any(side < 0 for side in shape) or last - first != size:
            raise ConfigError(
                f"{file}: tensor {name} of type {dtype} and shape {list(shape)} needs {size} bytes, the header gives it "
                f"{last - first} from {first}; copy the file again",
                param="generate.model",
            )
        places[name] = _Place(file, dtype, shape, start + first)
    return places


def _check(folder: Path, name: str, shape: tuple[int, ...], place: _Place | None) -> None:
    """Raise when a tensor that config.json implies is missing, of another shape, or of a type we do not read."""
    if place is None:
        raise ConfigError(
            f"the safetensors files in {folder} have no tensor {name}, which config.json implies; copy the weights that "
            "belong to this config.json",
            param="generate.model",
        )
    if place.shape != shape:
        raise ConfigError(
            f"{place.file}: tensor {name} has shape {list(place.shape)}, config.json implies {list(shape)}; copy the "
            "weights that belong to this config.json",
            param="generate.model",
        )
    if place.dtype not in _NUMPY:
        raise ConfigError(
            f"{place.file}: tensor {name} has type {place.dtype} ({', '.join(_NUMPY)} are supported); take the model's "
            "unquantised weights and set generate.precision instead",
            param="generate.model",
        )


def _add_to_digest(digest: xxhash.xxh3_128, mapped: mmap.mmap, start: int) -> None:
    """Size, header and evenly spaced pieces of one file."""
    digest.update(len(mapped).to_bytes(8, "little") + mapped[:start])
    last = max(start, len(mapped) - _SAMPLE_BYTES)
    for number in range(_SAMPLES):
        offset = start + (last - start) * number // (_SAMPLES - 1)
        digest.update(mapped[offset : offset + _SAMPLE_BYTES])

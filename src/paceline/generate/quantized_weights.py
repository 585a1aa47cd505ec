"""A checkpoint in 8 or 4 bits, made once and kept on disk: later starts map it instead of computing it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import xxhash

from paceline.base.errors import ConfigError
from paceline.generate.checkpoint import Checkpoint, expected_shapes
from paceline.generate.quantize import group_size, quantize_groups, quantize_rows
from paceline.generate.safetensors_file import SafetensorsFile

FORMAT: Final = "1"
"""Raise when the meaning of the stored tensors changes: older files are made again."""

Quantization = Literal["int8", "int4"]

_NO_HASH: Final = "0" * 32
_TYPES: Final = {"int8": "I8", "uint8": "U8", "float32": "F32"}


class QuantizedWeights:
    """The linear layers of one checkpoint. In int4 the output layer, and rows that do not fit the groups, are int8."""

    def __init__(self, path: Path, digest: str) -> None:
        """Raises ConfigError when the file is missing, damaged, or of another checkpoint or format."""
        self._file = SafetensorsFile(path)
        metadata = self._file.metadata
        if metadata.get("format") != FORMAT or metadata.get("digest") != digest:
            raise ConfigError(f"{path} was made from another model or version; delete it")
        if metadata.get("content") != xxhash.xxh3_128_hexdigest(self._file.numbers):
            raise ConfigError(f"{path} is damaged: its numbers are not those that were written; delete it")

    @property
    def nbytes(self) -> int:
        """Of the file."""
        return self._file.nbytes

    def is_int4(self, name: str) -> bool:
        """Whether tensor `name` has groups; otherwise it has rows."""
        return f"{name}.middles" in self._file.entries

    def int8(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Codes (n, k) int8 and scales (n,) of tensor `name`, views of the file; see `quantize_rows`."""
        return self._file.view(f"{name}.codes"), self._file.view(f"{name}.scales")

    def int4(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Codes (n, k) uint8, a copy, and views of scales and middles (n, k / group); see `quantize_groups`."""
        pairs = self._file.view(f"{name}.codes")  # (n, k / 2): the even one in the low half
        codes = np.stack((pairs & 15, pairs >> 4), axis=-1).reshape(len(pairs), -1)
        return codes, self._file.view(f"{name}.scales"), self._file.view(f"{name}.middles")

    def forget(self) -> None:
        """See `SafetensorsFile.forget`."""
        self._file.forget()


def quantized_weights(checkpoint: Checkpoint, kind: Quantization, state_dir: Path) -> QuantizedWeights:
    """The checkpoint's `kind` from `state_dir`/generate, made first (about a second for 1 GB) when missing or damaged.

    Raises ConfigError when `state_dir` cannot be written.
    """
    path = state_dir / "generate" / f"{checkpoint.digest}-{kind}" / "weights.safetensors"
    if path.is_file():
        with suppress(ConfigError):  # damaged or old: made again below, and replaced
            return QuantizedWeights(path, checkpoint.digest)
    _write(path, checkpoint, kind)
    return QuantizedWeights(path, checkpoint.digest)


def linear_names(checkpoint: Checkpoint) -> Iterator[str]:
    """Tensors that multiply activations; the embedding table only where it is the output layer too."""
    head = output_layer(checkpoint)
    for name in expected_shapes(checkpoint.config):
        if name.endswith("_proj.weight") or name == head:
            yield name


def output_layer(checkpoint: Checkpoint) -> str:
    """The tensor that makes logits."""
    return "model.embed_tokens.weight" if checkpoint.config.tied_embeddings else "lm_head.weight"


_Part = tuple[str, str, tuple[int, ...]]
"""Name, numpy type, shape of a stored tensor."""


def _parts(
    checkpoint: Checkpoint, kind: Quantization
) -> Iterator[tuple[list[_Part], Callable[[], list[np.ndarray]]]]:
    """What is stored of each linear layer, and how it is made."""
    shapes = expected_shapes(checkpoint.config)
    for name in linear_names(checkpoint):
        outputs, inputs = shapes[name]
        group = group_size(inputs) if kind == "int4" and name != output_layer(checkpoint) else None
        if group is None:
            parts = [(f"{name}.codes", "int8", (outputs, inputs)), (f"{name}.scales", "float32", (outputs,))]
            yield parts, _rows_of(checkpoint, name)
            continue
        grouped = (outputs, inputs // group)
        yield (
            [
                (f"{name}.codes", "uint8", (outputs, inputs // 2)),
                (f"{name}.scales", "float32", grouped),
                (f"{name}.middles", "float32", grouped),
            ],
            _groups_of(checkpoint, name, group),
        )


def _rows_of(checkpoint: Checkpoint, name: str) -> Callable[[], list[np.ndarray]]:
    return lambda: list(quantize_rows(checkpoint.float32(name)))


def _groups_of(checkpoint: Checkpoint, name: str, group: int) -> Callable[[], list[np.ndarray]]:
    def make() -> list[np.ndarray]:
        codes, scales, middles = quantize_groups(checkpoint.float32(name), group)
        return [codes[:, 0::2] | codes[:, 1::2] << 4, scales, middles]

    return make


def _write(path: Path, checkpoint: Checkpoint, kind: Quantization) -> None:
    """Layer after layer, so that one layer is in memory at a time; seen under its name only when complete."""
    planned = list(_parts(checkpoint, kind))
    header: dict[str, Any] = {
        "__metadata__": {"format": FORMAT, "digest": checkpoint.digest, "content": _NO_HASH}
    }
    offset = 0
    for name, dtype, shape in (part for parts, _ in planned for part in parts):
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        header[name] = {"dtype": _TYPES[dtype], "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    # Several processes may make the same file at once: each has its own part, the last one stays.
    part_path = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part_path.open("wb") as stream:
            stream.write(_head(header))
            content = xxhash.xxh3_128()
            for parts, make in planned:
                for (_, dtype, shape), array in zip(parts, make(), strict=True):
                    assert array.dtype == dtype
                    assert array.shape == shape
                    numbers = np.ascontiguousarray(array).data.cast("B")
                    stream.write(numbers)
                    content.update(numbers)
                checkpoint.forget()
            header["__metadata__"]["content"] = content.hexdigest()
            stream.seek(0)
            stream.write(_head(header))  # as long as before: a digest has the length of its placeholder
        part_path.replace(path)
    except OSError as error:
        with suppress(OSError):
            part_path.unlink()
        raise ConfigError(f"{path} cannot be written ({error}); make its folder writeable") from error


def _head(header: dict[str, Any]) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text

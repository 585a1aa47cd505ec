"""Packed weights on disk: made once for a checkpoint and a precision, mapped by every later start and every process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import xxhash

from paceline.base.errors import ConfigError
from paceline.generate.checkpoint import Checkpoint
from paceline.generate.compiled.packing import LAYOUT_VERSION, packed_parts
from paceline.generate.safetensors_file import SafetensorsFile

_PAGE: Final = 4096
_HEAD_BYTES_PER_TENSOR: Final = 128
_NO_HASH: Final = "0" * 32


class PackedWeights:
    """The tensors of one file, at addresses that stay valid as long as this object lives."""

    def __init__(self, path: Path, digest: str) -> None:
        """Raises ConfigError when the file is missing, damaged, or of another checkpoint or layout."""
        self._file = SafetensorsFile(path)
        metadata = self._file.metadata
        if metadata.get("layout") != LAYOUT_VERSION or metadata.get("digest") != digest:
            raise ConfigError(f"{path} was made from another model or version; delete it")
        if metadata.get("content") != xxhash.xxh3_128_hexdigest(self._file.numbers):
            raise ConfigError(f"{path} is damaged: its numbers are not those that were written; delete it")

    @property
    def nbytes(self) -> int:
        """Of all tensors."""
        return sum(self._file.view(name).nbytes for name in self._file.entries)

    def address(self, name: str) -> int:
        """Where tensor `name` begins, on a line of the cache; 0 when there is none."""
        if name not in self._file.entries:
            return 0
        return int(self._file.view(name).ctypes.data)


def packed_weights(checkpoint: Checkpoint, precision: str, state_dir: Path) -> PackedWeights:
    """The checkpoint's weights from `state_dir`/generate, packed first (seconds) when missing, damaged or old.

    Raises ConfigError when `state_dir` cannot be written.
    """
    path = state_dir / "generate" / f"{checkpoint.digest}-{precision}-{LAYOUT_VERSION}.packed"
    if path.is_file():
        with suppress(ConfigError):  # damaged or old: made again below, and replaced
            return PackedWeights(path, checkpoint.digest)
    _write(path, checkpoint, precision)
    return PackedWeights(path, checkpoint.digest)


def _write(path: Path, checkpoint: Checkpoint, precision: str) -> None:
    """A layer at a time in memory; seen under its name only when complete."""
    tensors = 16 * (checkpoint.config.layers + 1)
    room = -(-_HEAD_BYTES_PER_TENSOR * tensors // _PAGE) * _PAGE
    metadata = {"layout": LAYOUT_VERSION, "digest": checkpoint.digest, "content": _NO_HASH}
    header: dict[str, Any] = {"__metadata__": metadata}
    content = xxhash.xxh3_128()
    # Several processes may make the same file at once: each has its own part, the last one stays.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            stream.seek(room)
            offset = 0
            for name, numbers in _tensors(checkpoint, precision):
                header[name] = {
                    "dtype": "U8",
                    "shape": [len(numbers)],
                    "data_offsets": [offset, offset + len(numbers)],
                }
                stream.write(numbers)
                content.update(numbers)
                offset += len(numbers)
            metadata["content"] = content.hexdigest()
            stream.seek(0)
            stream.write(_head(header, room))
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise ConfigError(f"{path} cannot be written ({error}); make its folder writeable") from error


def _tensors(checkpoint: Checkpoint, precision: str) -> Iterator[tuple[str, memoryview]]:
    """Name and bytes, whole lines of the cache each."""
    for prefix, make in packed_parts(checkpoint, precision):
        for name, array in make().items():
            if array.nbytes:
                assert array.nbytes % 64 == 0, name
                yield prefix + name, np.ascontiguousarray(array).data.cast("B")
        checkpoint.forget()


def _head(header: dict[str, Any], room: int) -> bytes:
    """Length and header of a safetensors file, filled with spaces: numbers begin on a page."""
    text = json.dumps(header, separators=(",", ":")).encode()
    assert len(text) + 8 <= room
    text += b" " * (room - 8 - len(text))
    return len(text).to_bytes(8, "little") + text

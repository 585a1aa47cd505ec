"""Tensors of safetensors files as memory-mapped arrays: nothing is copied until something reads a page."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from paceline.base.errors import ConfigError

_DTYPES: Final = {
    "F32": "<f4",
    "F16": "<f2",
    "I8": "i1",
    "U8": "u1",
    "I32": "<i4",
    "I64": "<i8",
    "F64": "<f8",
}
_LENGTH_BYTES: Final = 8


class Weights(Mapping[str, np.ndarray]):
    """Tensors by name over all files of a model; floats come as float32 (a copy only if they are stored smaller)."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Raises ConfigError for a file that is not readable, cut short, or not safetensors."""
        self._maps: list[mmap.mmap] = []
        self._tensors: dict[str, tuple[mmap.mmap, int, str, list[int]]] = {}
        self.metadata: dict[str, str] = {}
        for file in files:
            self._open(file)

    def _open(self, file: Path) -> None:
        try:
            with file.open("rb") as stream:
                # Private rather than read-only: OpenVINO shares only writeable arrays, though it never writes.
                mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise ConfigError(
                f"{file} cannot be read ({error}); check the file and its permissions"
            ) from error
        start = _LENGTH_BYTES + int.from_bytes(mapped[:_LENGTH_BYTES], "little")
        try:
            header = json.loads(mapped[_LENGTH_BYTES:start])
            self.metadata.update(header.pop("__metadata__", {}))
            for name, entry in header.items():
                first, last = entry["data_offsets"]
                if start + last > len(mapped):
                    raise ConfigError(
                        f"{file} has {len(mapped)} bytes but tensor {name} ends at {start + last}; "
                        "the file is cut short, copy it again"
                    )
                self._tensors[name] = (mapped, start + first, entry["dtype"], entry["shape"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{file} is not a safetensors file ({error!r}); copy it again") from error
        self._maps.append(mapped)

    def __getitem__(self, name: str) -> np.ndarray:
        mapped, offset, dtype, shape = self._tensors[name]
        count = int(np.prod(shape, dtype=np.int64))
        if dtype == "BF16":  # numpy has no bfloat16: it is the upper half of a float32
            upper = np.frombuffer(mapped, "<u2", count, offset).astype("<u4")
            return (upper << np.uint32(16)).view("<f4").reshape(shape)
        if dtype not in _DTYPES:
            raise ConfigError(f"tensor {name} has type {dtype}; supported: BF16, {', '.join(_DTYPES)}")
        array = np.frombuffer(mapped, _DTYPES[dtype], count, offset).reshape(shape)
        return array.astype("<f4") if dtype in ("F16", "F64") else array

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def forget(self) -> None:
        """Let the kernel take back pages that were only read to be repacked; they are read again when touched."""
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)

"""One safetensors file, mapped into memory: 8 bytes of header length, a JSON header, numbers."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from paceline.base.errors import ConfigError

NUMPY_TYPES: Final[dict[str, np.dtype[Any]]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
"""How numpy sees the types we read; it has no bf16."""

_LENGTH_BYTES: Final = 8


class Entry(msgspec.Struct, frozen=True):
    """Where a tensor lies."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    """Bytes from the start of the file."""


class SafetensorsFile:
    """Views of a file's tensors; nothing is copied until something reads a page."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError that names the file, its size and the way out when it cannot be used."""
        self.path = path
        self._mapped = _map(path)
        self._start, header = self._header()
        self.metadata: Mapping[str, str] = header.pop("__metadata__", None) or {}
        self.entries: dict[str, Entry] = {name: self._entry(name, entry) for name, entry in header.items()}

    @property
    def nbytes(self) -> int:
        """Of the whole file."""
        return len(self._mapped)

    @property
    def head(self) -> bytes:
        """Length and header as they stand in the file."""
        return self._mapped[: self._start]

    @property
    def numbers(self) -> memoryview:
        """Everything behind the header."""
        return memoryview(self._mapped)[self._start :]

    def view(self, name: str) -> np.ndarray:
        """The tensor as it is stored, BF16 as uint16; KeyError for an unknown name or type."""
        entry = self.entries[name]
        count = int(np.prod(entry.shape, dtype=np.int64))
        return np.frombuffer(self._mapped, NUMPY_TYPES[entry.dtype], count, entry.offset).reshape(entry.shape)

    def forget(self) -> None:
        """Let the kernel take back pages that were only read to be repacked; they are read again when touched."""
        self._mapped.madvise(mmap.MADV_DONTNEED)

    def _header(self) -> tuple[int, dict[str, Any]]:
        """Where the numbers begin, and what the header says."""
        size, mapped = len(self._mapped), self._mapped
        start = _LENGTH_BYTES + int.from_bytes(mapped[:_LENGTH_BYTES], "little")
        if start > size:
            raise ConfigError(
                f"{self.path} has {size} bytes, its header alone should end at byte {start}; it is cut short or not a "
                "safetensors file, copy it again",
                param="generate.model",
            )
        try:
            return start, msgspec.json.decode(mapped[_LENGTH_BYTES:start], type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"{self.path} is not a safetensors file ({error}); copy it again", param="generate.model"
            ) from error

    def _entry(self, name: str, entry: Any) -> Entry:
        """Checked to lie within the file, and to be as large as its type and shape say."""
        try:
            dtype, shape = str(entry["dtype"]), tuple(int(size) for size in entry["shape"])
            first, last = (int(offset) for offset in entry["data_offsets"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.path}: the header's entry of tensor {name} is malformed ({error!r}); copy the file again",
                param="generate.model",
            ) from error
        if self._start + last > len(self._mapped):
            raise ConfigError(
                f"{self.path} has {len(self._mapped)} bytes but tensor {name} ends at byte {self._start + last}; the "
                "file is cut short, copy it again",
                param="generate.model",
            )
        size = (
            int(np.prod(shape, dtype=object)) * NUMPY_TYPES[dtype].itemsize if dtype in NUMPY_TYPES else None
        )
        if (
            first < 0
            or any(side < 0 for side in shape)
            or last - first != (last - first if size is None else size)
        ):
            raise ConfigError(
                f"{self.path}: tensor {name} of type {dtype} and shape {list(shape)} needs {size} bytes, the header "
                f"gives it {last - first} from {first}; copy the file again",
                param="generate.model",
            )
        return Entry(dtype, shape, self._start + first)


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as stream:
            # Private rather than read-only: torch warns of arrays that it could not write to, though it never does.
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise ConfigError(
            f"{path} cannot be read ({error}); check the file and its permissions", param="generate.model"
        ) from error

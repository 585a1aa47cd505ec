"""Arrays in a folder, one `.npy` file each, with their lengths and checksums; opened as memory maps.

The arrays begin at a cache line (numpy pads its header to 64 bytes), as the compiled search wants them.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Container, Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np
import xxhash
from numpy.lib import format as npy
from numpy.typing import NDArray

from paceline.base.errors import StorageDamaged
from paceline.vectors.disk import told

_CHUNK: Final = 1 << 22
_HEADER: Final = re.compile(
    rb"\{'descr': '([<>|][a-z]\d+)', 'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n"
)
Arrays = dict[str, NDArray[Any]]


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file must be."""

    size: int  # bytes
    checksum: str  # xxh3, 128 bits, in hexadecimal


Files = dict[str, FileEntry]
"""By the array's name; the file's has `.npy` after it."""


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> Files:
    """Write and sync each of `arrays` into `folder`. OSError."""
    return {name: _write(folder / f"{name}.npy", array) for name, array in arrays.items()}


def _write(file: Path, array: NDArray[Any]) -> FileEntry:
    plain = np.ascontiguousarray(array)
    header = BytesIO()
    npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(plain))
    digest = xxhash.xxh3_128(header.getvalue())
    octets = plain.reshape(-1).view(np.uint8).data
    with file.open("wb") as out:
        out.write(header.getvalue())
        for start in range(0, len(octets), _CHUNK):
            digest.update(octets[start : start + _CHUNK])
            out.write(octets[start : start + _CHUNK])
        out.flush()
        os.fsync(out.fileno())
        size = out.tell()
    return FileEntry(size, digest.hexdigest())


def map_arrays(folder: Path, files: Files, scattered: Container[str] = ()) -> Arrays:
    """The arrays as read-only memory maps. StorageDamaged if a file is missing, of another size, or no array.

    Of those `scattered`, which are read here and there, the operating system shall not read on: where memory is short,
    a row would cost 128 KiB of it.
    """
    return {
        name: _mapped(folder / f"{name}.npy", entry, scattered=name in scattered)
        for name, entry in files.items()
    }


def _mapped(file: Path, entry: FileEntry, *, scattered: bool) -> NDArray[Any]:
    try:
        with told(f"{file} cannot be opened"), file.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            if size != entry.size:
                raise StorageDamaged(f"{file} has {size} bytes, not {entry.size}; restore it from a snapshot")
            shape, dtype = _read_header(source)
            count = int(np.prod(shape))
            if count == 0:
                return np.zeros(shape, dtype)
            memory = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
            if scattered and hasattr(mmap, "MADV_RANDOM"):
                memory.madvise(mmap.MADV_RANDOM)
            return np.frombuffer(memory, dtype, count, source.tell()).reshape(shape)
    except FileNotFoundError as error:
        raise StorageDamaged(f"{file} is missing; restore it from a snapshot") from error
    except (ValueError, struct.error) as error:  # a header that is none
        raise StorageDamaged(f"{file} is no array ({error}); restore it from a snapshot") from error


def _read_header(source: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array that `_write` wrote; ValueError if it did not.

    numpy's own reader parses Python, and until CPython 3.11.8 two threads that parse at once may both fail (its issue
    106905): one that opens a segment, and one that compiles a search.
    """
    size = struct.unpack("<H", source.read(npy.MAGIC_LEN + 2)[-2:])[0]
    found = _HEADER.fullmatch(source.read(size))
    if found is None:
        raise ValueError("its header is none of ours")
    return tuple(map(int, found[2].replace(b",", b" ").split())), np.dtype(found[1].decode())


def check_arrays(folder: Path, files: Files, names: Iterable[str] | None = None) -> None:
    """Read whole files (all, or those of `names`). StorageDamaged on the first that is not what was written."""
    for name in files if names is None else names:
        file, entry = folder / f"{name}.npy", files[name]
        digest = xxhash.xxh3_128()
        with told(f"{file} cannot be read"), file.open("rb") as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != entry.checksum:
            raise StorageDamaged(
                f"{file} has the checksum {digest.hexdigest()}, not {entry.checksum}: "
                "its content changed after it was written; restore it from a snapshot"
            )

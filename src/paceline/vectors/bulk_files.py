"""Records of files, in order, from any place on: JSON lines, Parquet, or a NumPy array.

.jsonl     {"id": "a", "vector": [..]} a line; "values" for "vector" (Pinecone's name), "metadata", "namespace"
.parquet   columns id, vector (or values), and metadata as a struct or JSON text; or other columns as its fields
.npy       vectors (n, d); ids are row numbers, or the lines of NAME.ids beside it
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.record import Record

_READ_AT_ONCE: Final = 1024
_NUMBERS: Final = ("vector", "values")


def read_records(file: Path, namespace: str = "", first: int = 0) -> Iterator[Record]:
    """The records of `file` from number `first` on; `namespace` for those that do not say one.

    ConfigError if the file is missing or of no known kind, InvalidRequest with the line or row that is wrong.
    """
    readers = {".jsonl": _json_lines, ".ndjson": _json_lines, ".parquet": _parquet, ".npy": _array}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise ConfigError(f"{file} is none of {', '.join(readers)}; convert it to one of them")
    if not file.is_file():
        raise ConfigError(f"{file} is no file; give the path of one")
    return reader(file, namespace, first)


def _json_lines(file: Path, namespace: str, first: int) -> Iterator[Record]:
    with file.open("rb") as lines:
        for number, line in enumerate(islice(lines, first, None), start=first + 1):
            if not line.strip():
                raise InvalidRequest(f"{file}:{number} is empty; write a record on each line")
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InvalidRequest(f"{file}:{number} is no JSON ({error})") from None
            yield _record(row, f"{file}:{number}", namespace)


def _parquet(file: Path, namespace: str, first: int) -> Iterator[Record]:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError(
            f"{file} needs pyarrow, which is not installed; pip install 'paceline[parquet]'"
        ) from None
    number = 0
    with parquet.ParquetFile(file) as table:
        for batch in table.iter_batches(_READ_AT_ONCE):
            if number + batch.num_rows <= first:
                number += batch.num_rows
                continue
            for row in batch.to_pylist():
                number += 1
                if number > first:
                    yield _record(_of_columns(row), f"{file} row {number}", namespace)


def _of_columns(row: dict[str, Any]) -> dict[str, Any]:
    """A record of a table's row: columns that are no part of a record are its metadata."""
    parts: tuple[str, ...] = ("id", *_NUMBERS, "namespace", "metadata")
    known = {name: row.pop(name) for name in parts if name in row}
    metadata = known.get("metadata")
    if isinstance(metadata, str):
        metadata = orjson.loads(metadata)
    fields = {**row, **(metadata or {})}
    return {**known, "metadata": {name: value for name, value in fields.items() if value is not None}}


def _array(file: Path, namespace: str, first: int) -> Iterator[Record]:
    vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InvalidRequest(
            f"{file} holds {vectors.dtype} of shape {vectors.shape}; save numbers of shape (count, dimensions)"
        )
    beside = file.with_suffix(".ids")
    names = beside.read_text("utf-8").splitlines() if beside.is_file() else None
    if names is not None and len(names) != len(vectors):
        raise InvalidRequest(
            f"{beside} names {len(names)} vectors, {file} holds {len(vectors)}; write one id a line"
        )
    for row in range(first, len(vectors)):
        name = str(row) if names is None else names[row]
        yield Record(name, np.asarray(vectors[row], np.float32), None, namespace)


def _record(row: Any, where: str, namespace: str) -> Record:
    if not isinstance(row, dict):
        raise InvalidRequest(f"{where} is no object; write a record with id and vector")
    numbers = [name for name in _NUMBERS if row.get(name) is not None]
    if len(numbers) != 1 or row.get("id") is None:
        raise InvalidRequest(
            f"{where} has {', '.join(row) or 'nothing'}; a record has id and vector (or values)"
        )
    try:
        vector = np.asarray(row[numbers[0]], np.float32)
    except (TypeError, ValueError):
        raise InvalidRequest(f"{where} has a vector that is no list of numbers") from None
    name = row["id"]
    return Record(
        name if isinstance(name, str) else str(name),
        vector,
        row.get("metadata"),
        row.get("namespace") or namespace,
    )

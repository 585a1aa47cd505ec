"""Records of files, in order, from any place on: JSON lines, Parquet, or a NumPy array.

.jsonl     {"id": "a", "vector": [..]} a line; "values" for "vector" (Pinecone's name), "metadata", "namespace"
.parquet   columns id, vector (or values), and metadata as a struct or JSON text; or other columns as its fields
.npy       vectors (n, d); ids are row numbers, or the lines of NAME.ids beside it

Of JSON lines and Parquet, `TextFields` reads texts instead, whose vectors somebody else makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.record import Record

_READ_AT_ONCE: Final = 1024
_NUMBERS: Final = ("vector", "values")
_KINDS: Final = (".jsonl", ".ndjson", ".parquet", ".npy")
_BLOCK: Final = 1 << 20


class TextRecord(msgspec.Struct, frozen=True):
    """A text that is to become a record."""

    id: str
    text: str
    metadata: Mapping[str, Any]
    namespace: str = ""


class TextFields(msgspec.Struct, frozen=True):
    """Reads texts: of each line or row `id`, `namespace`, the text, and all else as metadata."""

    text: str
    """Name of the field."""

    def __call__(self, file: Path, namespace: str = "", first: int = 0) -> Iterator[TextRecord]:
        """As `read_records`."""
        if file.suffix.lower() == ".npy":
            raise ConfigError(f"{file} holds numbers and no texts; leave the text field out")
        return (self._record(row, where, namespace) for row, where in _rows(file, first))

    def _record(self, row: Any, where: str, namespace: str) -> TextRecord:
        if not isinstance(row, dict):
            raise InvalidRequest(f"{where} is no object; write one with id and {self.text}")
        fields = _of_columns(row)
        text = fields["metadata"].pop(self.text, None)
        if fields.get("id") is None or not isinstance(text, str) or not text:
            raise InvalidRequest(
                f"{where} has no text {self.text!r} or no id; give both, or name another field"
            )
        return TextRecord(str(fields["id"]), text, fields["metadata"], fields.get("namespace") or namespace)


def count_records(file: Path) -> int:
    """How many records there are, without reading them: lines, rows. ConfigError as of `read_records`."""
    kind = _kind(file)
    if kind == ".npy":
        return len(np.load(file, mmap_mode="r", allow_pickle=False))
    if kind == ".parquet":
        with _parquet_module(file).ParquetFile(file) as table:
            return int(table.metadata.num_rows)
    with file.open("rb") as whole:
        count, last = 0, b"\n"
        while block := whole.read(_BLOCK):
            count, last = count + block.count(b"\n"), block[-1:]
        return count + (last != b"\n")


def read_records(file: Path, namespace: str = "", first: int = 0) -> Iterator[Record]:
    """The records of `file` from number `first` on; `namespace` for those that do not say one.

    ConfigError if the file is missing or of no known kind, InvalidRequest with the line or row that is wrong.
    """
    if _kind(file) == ".npy":
        return _array(file, namespace, first)
    columns = _kind(file) == ".parquet"
    return (
        _record(_of_columns(row) if columns else row, where, namespace) for row, where in _rows(file, first)
    )


def _kind(file: Path) -> str:
    kind = file.suffix.lower()
    if kind not in _KINDS:
        raise ConfigError(f"{file} is none of {', '.join(_KINDS)}; convert it to one of them")
    if not file.is_file():
        raise ConfigError(f"{file} is no file; give the path of one")
    return kind


def _rows(file: Path, first: int) -> Iterator[tuple[Any, str]]:
    """Objects and where they stand, from number `first` on."""
    return (_parquet if _kind(file) == ".parquet" else _json_lines)(file, first)


def _json_lines(file: Path, first: int) -> Iterator[tuple[Any, str]]:
    with file.open("rb") as lines:
        for number, line in enumerate(islice(lines, first, None), start=first + 1):
            if not line.strip():
                raise InvalidRequest(f"{file}:{number} is empty; write a record on each line")
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InvalidRequest(f"{file}:{number} is no JSON ({error})") from None
            yield row, f"{file}:{number}"


def _parquet_module(file: Path) -> Any:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError(
            f"{file} needs pyarrow, which is not installed; pip install 'paceline[parquet]'"
        ) from None
    return parquet


def _parquet(file: Path, first: int) -> Iterator[tuple[Any, str]]:
    number = 0
    with _parquet_module(file).ParquetFile(file) as table:
        for batch in table.iter_batches(_READ_AT_ONCE):
            if number + batch.num_rows <= first:
                number += batch.num_rows
                continue
            for row in batch.to_pylist():
                number += 1
                if number > first:
                    yield row, f"{file} row {number}"


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

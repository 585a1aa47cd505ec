"""How `paceline embed` writes vectors: JSON lines, a NumPy array, or a table to look at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from paceline.base.errors import ConfigError

Format = Literal["jsonl", "npy", "table"]


class Row(NamedTuple):
    """One text and its vector."""

    number: int
    """Place among the texts, from 0."""
    text: str
    vector: npt.NDArray[np.float32]


Write = Callable[[Sequence[Row]], None]


@contextmanager
def writer(form: Format, output: Path | None) -> Iterator[Write]:
    """Open `output`, or standard output, and give the block a function that takes rows in order."""
    try:
        target: BinaryIO = output.open("wb") if output else sys.stdout.buffer
    except OSError as error:
        raise ConfigError(f"--output {output}: {error.strerror or error}") from error
    try:
        if form == "jsonl":
            yield lambda rows: _write_lines(target, rows)
        else:
            kept: list[Row] = []
            yield kept.extend
            (_write_array if form == "npy" else _write_table)(target, kept)
        target.flush()
    finally:
        if output:
            target.close()


def _write_lines(target: BinaryIO, rows: Sequence[Row]) -> None:
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    for row in rows:
        line = {"index": row.number, "text": row.text, "embedding": np.ascontiguousarray(row.vector)}
        target.write(orjson.dumps(line, option=options))


def _write_array(target: BinaryIO, rows: Sequence[Row]) -> None:
    """float32 of shape (texts, dimensions)."""
    np.save(target, np.stack([row.vector for row in rows]))


def _write_table(target: BinaryIO, rows: Sequence[Row]) -> None:
    """First values of each vector, and its cosine to the first text's."""
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second that the other formats need not spend
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("text", "first values", "cosine to first", caption=f"{len(rows[0].vector)} dimensions")
    first = rows[0].vector
    for row in rows:
        norms = float(np.linalg.norm(row.vector) * np.linalg.norm(first))
        cosine = float(row.vector @ first) / norms if norms else 0.0
        values = "  ".join(f"{value:+.4f}" for value in row.vector[:4])
        table.add_row(Text(row.text, overflow="ellipsis", no_wrap=True), f"{values} …", f"{cosine:.4f}")
    console = Console(width=None if target is sys.stdout.buffer and sys.stdout.isatty() else 100)
    with console.capture() as capture:
        console.print(table)
    target.write(capture.get().encode())

"""Vectors and conditions as they are typed, or lie in files."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from paceline.base.errors import ConfigError
from paceline.client.vector_messages import packed


def condition(text: str | None, option: str = "--filter") -> dict[str, Any] | None:
    """The object that JSON of an option tells. Raises ConfigError."""
    if text is None:
        return None
    found = _json(text, option)
    if not isinstance(found, dict):
        raise ConfigError(f'{option} {text[:60]}: expected an object, as \'{{"year": {{"$gte": 2000}}}}\'')
    return found


def vectors_of(given: str, option: str = "--vector") -> list[str]:
    """Vectors, packed: of JSON, of a file (.npy, or JSON), or of standard input (-). Raises ConfigError."""
    if given.lstrip().startswith("["):
        return _packed(_json(given, option), option)
    name = f"{option} {given}"
    try:
        content = sys.stdin.buffer.read() if given == "-" else Path(given).read_bytes()
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror or error}") from error
    if content.startswith(b"\x93NUMPY"):
        try:
            return _packed(np.load(io.BytesIO(content), allow_pickle=False), name)
        except (ValueError, EOFError) as error:
            raise ConfigError(f"{name}: {error}") from error
    try:
        return _packed(_json(content.decode(), name), name)
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: neither an array of NumPy nor JSON") from None


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{what}: no JSON at character {error.pos + 1} ({error.msg})") from None


def _packed(found: Any, what: str) -> list[str]:
    """Of numbers (dimensions,) or (count, dimensions)."""
    try:
        rows = np.atleast_2d(np.asarray(found, np.float32))
    except (TypeError, ValueError):
        raise ConfigError(f"{what}: expected numbers, as [0.1, 0.2], or rows of as many each") from None
    if rows.ndim != 2 or not rows.size:
        raise ConfigError(
            f"{what}: numbers of shape {rows.shape}; expected (dimensions,) or (count, dimensions)"
        )
    return [packed(row) for row in rows]

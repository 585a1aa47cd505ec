"""What a model's files tell that the library does not: how many tokens its context holds.

Of a GGUF file only the metadata at its beginning is read (the format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from paceline.base.errors import ConfigError

_MAGIC: Final = b"GGUF"
_SCALARS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING: Final = 8
_ARRAY: Final = 9


def context_tokens(model: Path) -> int:
    """Tokens of prompt and output together, of an OpenVINO IR folder or a GGUF file. Raises ConfigError."""
    if model.is_dir():
        if not (model / "openvino_model.xml").is_file():
            raise ConfigError(
                f"{model} has no openvino_model.xml; give a folder written by `optimum-cli export openvino`, or a GGUF file",
                param="generate.model",
            )
        return _of_config(model / "config.json")
    if not model.is_file() or model.suffix != ".gguf":
        raise ConfigError(
            f"{model} is neither a folder nor a .gguf file; openvino-genai reads OpenVINO IR folders and GGUF files",
            param="generate.model",
        )
    return _of_gguf(model)


def _of_config(file: Path) -> int:
    try:
        config = json.loads(file.read_text("utf-8"))
        return int(config.get("text_config", config)["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{file} does not tell max_position_embeddings ({type(error).__name__}: {error}); copy the model's config.json",
            param="generate.model",
        ) from error


def _of_gguf(file: Path) -> int:
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            header = _Header(content)
            found = [int(value) for key, value in header.metadata() if key.endswith(".context_length")]
            header.must_be_whole()
    except (struct.error, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ConfigError(
            f"{file} is no GGUF file, or a truncated one ({error}); copy it again", param="generate.model"
        ) from error
    if not found:
        raise ConfigError(
            f"{file} does not tell its context_length; convert the model again", param="generate.model"
        )
    return found[0]


class _Header:
    """The beginning of a GGUF file: pairs of key and value, then the list of tensors."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        if content[:4] != _MAGIC:
            raise ValueError(f"it begins with {content[:4]!r}, not with {_MAGIC!r}")
        self._at = 8  # behind the version
        self._tensors, self._pairs = self._scalar(10), self._scalar(10)

    def metadata(self) -> Iterator[tuple[str, Any]]:
        """(key, value); an array's value is None."""
        for _ in range(self._pairs):
            key = self._string()
            yield key.decode("utf-8", "replace"), self._value(self._scalar(4))

    def must_be_whole(self) -> None:
        """Raise ValueError when the last tensor is not there; the library would compute with what memory holds."""
        last = 0
        for _ in range(self._tensors):
            self._string()
            dimensions = self._scalar(4)
            self._at += 8 * dimensions + 4
            last = max(last, self._scalar(10))
        if len(self._content) < self._at + last:
            raise ValueError(
                f"{len(self._content)} bytes, and its last tensor begins behind byte {self._at + last}"
            )

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            of, count = self._scalar(4), self._scalar(10)
            if of in _SCALARS:
                self._at += count * struct.calcsize(_SCALARS[of])
            else:
                for _ in range(count):
                    self._value(of)
            return None
        return self._scalar(kind)

    def _scalar(self, kind: int) -> Any:
        (value,) = struct.unpack_from(_SCALARS[kind], self._content, self._at)
        self._at += struct.calcsize(_SCALARS[kind])
        return value

    def _string(self) -> bytes:
        length = self._scalar(10)
        self._at += length
        return self._content[self._at - length : self._at]

"""Checked fields of a JSON object in a file: what is wrong is said with file, name, value and range."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from paceline.base.errors import ConfigError


class JsonFields:
    """One object. A field that is null counts as absent, as Hugging Face writes its defaults."""

    def __init__(self, file: Path, values: dict[str, Any], prefix: str = "") -> None:
        self.file = file
        self._values = values
        self._prefix = prefix

    @classmethod
    def read(cls, file: Path) -> JsonFields:
        """The object that `file` holds; raises ConfigError when there is none."""
        try:
            values = msgspec.json.decode(file.read_bytes())
        except FileNotFoundError as error:
            raise ConfigError(
                f"{file} is missing; generate.model must be a folder with config.json, safetensors weights and "
                "tokenizer.json",
                param="generate.model",
            ) from error
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(
                f"{file} cannot be read ({error}); copy it again", param="generate.model"
            ) from error
        if not isinstance(values, dict):
            raise ConfigError(f"{file} is not a JSON object; copy it again", param="generate.model")
        return cls(file, values)

    def empty(self) -> JsonFields:
        """An object of the same file without fields."""
        return JsonFields(self.file, {}, self._prefix)

    def inner(self, name: str) -> JsonFields | None:
        """The object in field `name`, None when absent; raises ConfigError when it is something else."""
        value = self.value(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return JsonFields(self.file, value, f"{self._prefix}{name}.")

    def value(self, name: str) -> Any:
        """As it stands there; None when absent."""
        return self._values.get(name)

    def items(self) -> Iterable[tuple[str, Any]]:
        """Every field as it stands there."""
        return self._values.items()

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._values.get(name) is not None

    def whole(self, name: str, default: int | None = None, *, ge: int = 1, le: int) -> int:
        """An integer from `ge` to `le`; without `default` it must be there."""
        value = self._values.get(name)
        if value is None:
            value = default
        if isinstance(value, bool) or not isinstance(value, int) or not ge <= value <= le:
            raise self.wrong(name, f"a whole number from {ge} to {le}")
        return value

    def number(self, name: str, default: float | None = None, *, gt: float, le: float) -> float:
        """A finite number above `gt`, up to `le`; without `default` it must be there."""
        value = self._values.get(name)
        if value is None:
            value = default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.wrong(name, f"a number above {gt:g}, at most {le:g}")
        if not gt < value <= le:
            raise self.wrong(name, f"a number above {gt:g}, at most {le:g}")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def wrong(self, name: str, expected: str) -> ConfigError:
        """The error for field `name`, to be raised by the caller."""
        value = self._values.get(name)
        shown = "missing" if value is None else msgspec.json.encode(value).decode()[:80]
        return ConfigError(
            f"{self.file}: {self._prefix}{name} is {shown} but must be {expected}; copy the file again from where the "
            "model came from",
            param="generate.model",
        )

"""The knobs of a foreign server, declared in TOML beside the files that it reads.

    [knobs.worker_processes]
    values = [1, 2, 4]                    # or: low = 1, high = 64, scale = "log" (integers, as they are written so)
    baseline = 1                          # must be among them
    quality = false                       # true: changes the answers, so a quality gate must agree

    [server]
    ready = "/health"                     # a path, a URL, or "tcp": it takes connections
    start_timeout_s = 60

    [files]                               # written into a folder of its own; the command names it {files.nginx}
    nginx = "worker_processes {worker_processes}; ..."

A knob whose name has dots is written `[knobs."batch.max_size"]`.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from paceline.base.errors import ConfigError
from paceline.tune.knob import Knob, Scale
from paceline.tune.setting import Setting, Value, spelled

StopSignal = Literal["TERM", "INT", "QUIT"]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]

_Wrong = Callable[[str, str], ConfigError]
"""From a knob's key and an advice to the error about it."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
_RESERVED = {"port", "settings", "folder", "here", "files"}
"""What a command's braces mean besides knobs."""


class ServerText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[server]`: how to tell that it is up, and how to stop it."""

    ready: str = "tcp"
    """`tcp`, a path of the server's URL, or a whole URL; a path or URL must answer with a status below 400."""
    start_timeout_s: Seconds = 60.0
    stop_timeout_s: Seconds = 10.0
    """From the stop signal to SIGKILL."""
    stop_signal: StopSignal = "TERM"


class KnobFile(msgspec.Struct, frozen=True):
    """What the file declares; `path` is where it lies."""

    path: Path
    knobs: tuple[Knob, ...]
    server: ServerText = ServerText()
    files: Mapping[str, str] = {}

    def baseline(self) -> dict[str, Value]:
        """Every knob's value without us."""
        return {knob.name: knob.baseline for knob in self.knobs}

    def complete(self, setting: Setting) -> dict[str, Value]:
        """Every knob's value under `setting`. Raises ConfigError for an unknown knob or a value out of its range."""
        known = {knob.name: knob for knob in self.knobs}
        for name, value in setting.items():
            if name not in known:
                raise ConfigError(
                    f"{name}: no such knob in {self.path}; it has {', '.join(known)}", param=name
                )
            if not known[name].takes(value):
                raise ConfigError(
                    f"{name} = {spelled(value)}: {self.path} allows {known[name].expected()}", param=name
                )
        return {**self.baseline(), **setting}


class _KnobText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `[knobs.NAME]` as it is written."""

    baseline: Value | None = None
    values: Annotated[tuple[Value, ...], Meta(min_length=1)] | None = None
    low: int | float | None = None
    high: int | float | None = None
    scale: Scale | None = None
    integer: bool | None = None
    """Without it: whether low, high and baseline are all written as integers."""
    quality: bool = False


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    knobs: Annotated[dict[str, dict[str, object]], Meta(min_length=1)]
    server: ServerText = ServerText()
    files: dict[str, str] = {}


def read_knob_file(path: Path) -> KnobFile:
    """Read and check a file of knobs. Raises ConfigError, in one line with file, knob, value and way out."""
    try:
        document = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Document)
    except OSError as error:
        raise ConfigError(f"knobs {path}: {error.strerror or error}", param="knobs") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"knobs {path}: {_sentence(error)}", param="knobs") from None
    except ValueError as error:
        raise ConfigError(f"knobs {path} is not TOML: {error}", param="knobs") from error
    _check_server(path, document.server)
    for name in document.files:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name):
            raise ConfigError(
                f"knobs {path}: files.{name}: expected a file name of letters, digits, '_', '-' and '.'",
                param=f"files.{name}",
            )
    knobs = tuple(_knob(path, name, text) for name, text in document.knobs.items())
    return KnobFile(path, knobs, document.server, document.files)


def _check_server(path: Path, server: ServerText) -> None:
    if not (server.ready == "tcp" or server.ready.startswith(("/", "http://", "https://"))):
        raise ConfigError(
            f'knobs {path}: server.ready = "{server.ready}": expected "tcp", a path such as "/health", or a URL',
            param="server.ready",
        )


def _knob(path: Path, name: str, raw: dict[str, object]) -> Knob:
    def wrong(key: str, advice: str) -> ConfigError:
        shown = f"{key} = {_toml(raw[key])}: " if key in raw else ""
        return ConfigError(f"knobs {path}: {name}: {shown}{advice}", param=name)

    if not _NAME.fullmatch(name) or name.partition(".")[0] in _RESERVED:
        raise wrong(
            "", f"no name for a knob (taken: {', '.join(sorted(_RESERVED))}); use letters, digits, '_'"
        )
    if any(isinstance(value, dict) for value in raw.values()):
        raise wrong(
            "", f'a table inside a knob; if its name has dots, write [knobs."{name}.{next(iter(raw))}"]'
        )
    try:
        text = msgspec.convert(raw, _KnobText)
    except msgspec.ValidationError as error:
        raise wrong("", _sentence(error)) from None
    if text.baseline is None:
        raise wrong("", "no baseline; add baseline = the value that the server has now")
    knob = _range(text, name, wrong) if text.values is None else _choice(text, name, wrong)
    if not knob.takes(text.baseline):
        raise wrong("baseline", f"expected {knob.expected()}; add it to them, for the server goes back to it")
    return knob


def _choice(text: _KnobText, name: str, wrong: _Wrong) -> Knob:
    assert text.values is not None
    assert text.baseline is not None
    for key in ("low", "high", "scale", "integer"):
        if getattr(text, key) is not None:
            raise wrong(key, "a knob has either values, or low and high; leave one out")
    if len({(type(value), value) for value in text.values}) < len(text.values):
        raise wrong("values", "a value stands there twice; keep one")
    for value in text.values:
        if isinstance(value, float) and not math.isfinite(value):
            raise wrong("values", "expected finite numbers")
    return Knob(name, text.baseline, values=text.values, quality=text.quality, live=False)


def _range(text: _KnobText, name: str, wrong: _Wrong) -> Knob:
    low, high = text.low, text.high
    if low is None or high is None:
        raise wrong("low" if high is None else "high", "a knob needs values = [...], or both low and high")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise wrong("high", f"expected a finite number above low = {low:g}")
    if text.scale == "log" and low <= 0:
        raise wrong("low", 'scale = "log" needs a number above 0; raise it, or use scale = "linear"')
    numbers = (low, high, text.baseline)
    integer = text.integer if text.integer is not None else all(type(number) is int for number in numbers)
    if integer and not (float(low).is_integer() and float(high).is_integer()):
        raise wrong("low" if float(high).is_integer() else "high", "integer = true needs whole bounds")
    assert text.baseline is not None
    return Knob(
        name,
        text.baseline,
        low=low,
        high=high,
        scale=text.scale or "linear",
        integer=integer,
        quality=text.quality,
        live=False,
    )


def _sentence(error: msgspec.ValidationError) -> str:
    """The validation error with the place first: `server.ready: expected str, got int`."""
    what, _, place = str(error).replace("`", "").partition(" - at $")
    place = re.sub(r"\[\.\.\.\]", ".*", place).strip(".")
    what = what[:1].lower() + what[1:]
    return f"{place}: {what}" if place else what


def _toml(value: object) -> str:
    return json.dumps(value, default=str)

"""Reading a recorded trace: CSV with a header line, or one JSON object a line.

Columns, by name (case does not matter, nor blanks, hyphens and underscores between words; others are passed over):

- arrival: `timestamp`, `time`, `at`, `ts`, `arrived_at`, `arrival_time` or `arrival`, alone or with a unit: `_s`,
  `_ms`, `_us`, `_ns`;
- optional lengths: prompt (`prompt_tokens`, `input_length`, ...), answer (`max_tokens`, `output_length`, ...), `rows`;
- optional `body` (text, or any JSON value), `path`, `method`.

The unit of a number comes from the column's name, or from the format where its authors fixed it: our access log
(seconds), Mooncake's traces (milliseconds), BurstGPT's (seconds). A number without either is refused, for a wrong
guess is a load a thousand times too small or too large. ISO 8601 needs no unit; without a zone it is UTC.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from math import floor, isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from paceline.base.errors import ConfigError

_UNITS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_TIMES: Final = ("timestamp", "time", "at", "ts", "arrivedat", "arrivaltime", "arrival")
_TIME_NAMES: Final = dict.fromkeys(_TIMES, 0) | {
    name + unit: scale for name in _TIMES for unit, scale in _UNITS.items()
}
"""Folded name to nanoseconds in its unit, 0 when the name does not say."""
_NAMES: Final = {
    "prompt": ("prompttokens", "inputlength", "inputtokens", "contexttokens", "requesttokens", "promptwords"),
    "answer": (
        "maxtokens",
        "outputlength",
        "outputtokens",
        "generatedtokens",
        "responsetokens",
        "completiontokens",
    ),
    "rows": ("rows",),
    "body": ("body",),
    "path": ("path",),
    "method": ("method",),
}
_FORMATS: Final = (
    ({"at", "durationms", "requestid"}, "s"),  # our access log
    ({"timestamp", "inputlength", "outputlength"}, "ms"),  # Mooncake
    ({"timestamp", "requesttokens", "responsetokens"}, "s"),  # BurstGPT
)
_LIMITS: Final = {"prompt": 100_000, "answer": 1_000_000, "rows": 100_000}
_MIN_NS: Final = -(1 << 63)
_SHOWN: Final = 40


class Asked(NamedTuple):
    """What one line of a trace says of its request; None where it does not say."""

    prompt: int | None = None
    """Tokens."""
    answer: int | None = None
    """Tokens."""
    rows: int | None = None
    """Texts in the request."""
    body: bytes | None = None
    path: str | None = None
    method: str | None = None


@dataclass(frozen=True)
class TraceFile:
    """A trace as the file has it."""

    at_ns: array[int]
    """Type q: arrivals in the order of the file, from an origin of the file's own."""
    ask: array[int]
    """Type L: index into `asks`."""
    asks: list[Asked]
    """Different ones only: most traces say the same of many requests."""


def read_trace(path: str) -> TraceFile:
    """Raises ConfigError naming file, line and value for what cannot be read."""
    file = Path(path).expanduser()
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return _Reader(file.name).read(stream)
    except OSError as error:
        raise ConfigError(
            f"trace {path!r}: {error.strerror or error}; give a CSV or JSONL file", param="load.path"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            f"trace {path!r} is not UTF-8 text; give a CSV or JSONL file", param="load.path"
        ) from None


class _Reader:
    """One pass over one file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = 0
        self._clock: str | None = None
        """What kind of times the lines have; they must agree, or the gaps between them mean nothing."""

    def _wrong(self, what: str) -> ConfigError:
        where = f"{self._name} line {self._line}" if self._line else self._name
        return ConfigError(f"{where}: {what}", param="load.path")

    def read(self, stream: TextIOWrapper) -> TraceFile:
        at_ns, ask = array("q"), array("L")
        asks: dict[Asked, int] = {}
        known: dict[tuple[str, ...], _Columns] = {}
        for row in self._rows(stream):
            names = tuple(row)  # objects may differ in what they say
            columns = known.get(names) or known.setdefault(names, self._columns(row))
            at_ns.append(self._instant(row, columns))
            ask.append(asks.setdefault(self._asked(row, columns), len(asks)))
        if not at_ns:
            self._line = 0
            raise self._wrong("there is no request in it; give a trace with at least one line")
        return TraceFile(at_ns, ask, list(asks))

    # -- lines --------------------------------------------------------------------------------------------------------

    def _rows(self, stream: TextIOWrapper) -> Iterator[Mapping[str, Any]]:
        """Every line as a mapping, whichever format; `_line` is its number."""
        for first in stream:
            if first.strip():
                lines = _again(first, stream)
                yield from self._objects(lines) if first.lstrip().startswith("{") else self._records(lines)
                return
            self._line += 1

    def _objects(self, lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
        decode = msgspec.json.Decoder().decode
        for line in lines:
            self._line += 1
            if not line.strip():
                continue
            try:
                row = decode(line)
            except msgspec.DecodeError as error:
                raise self._wrong(f"{_shown(line)} is not JSON ({error}); write one object a line") from None
            if not isinstance(row, dict):
                raise self._wrong(f"{_shown(line)} is not an object; write one JSON object a line")
            yield row

    def _records(self, lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
        before = self._line
        header, delimiter = None, ","
        first = next(lines)
        if "," not in first:
            delimiter = next((mark for mark in ";\t" if mark in first), ",")
        reader = csv.reader(_again(first, lines), delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                self._line = before + reader.line_num
                if header is None:
                    header = [field.strip() for field in fields]
                elif fields:
                    if len(fields) != len(header):
                        raise self._wrong(
                            f"has {len(fields)} fields, the header has {len(header)}; make them agree"
                        )
                    yield dict(zip(header, fields, strict=True))
        except csv.Error as error:
            self._line = before + reader.line_num
            raise self._wrong(
                f"is not CSV ({error}); put texts with quotes or line breaks in quotes"
            ) from None

    # -- columns ------------------------------------------------------------------------------------------------------

    def _columns(self, row: Mapping[str, Any]) -> _Columns:
        """Which columns there are, told from their names."""
        names = {_folded(name): name for name in row}
        times = [name for name in names if name in _TIME_NAMES]
        if len(times) != 1:
            found = " and ".join(repr(names[name]) for name in times)
            raise self._wrong(
                f"{found} are both arrival times; keep one"
                if times
                else f"there is no arrival time among {', '.join(map(repr, row))}; "
                "name a column timestamp_s, timestamp_ms, or timestamp with ISO 8601"
            )
        scale = _TIME_NAMES[times[0]]
        known = next((unit for signature, unit in _FORMATS if signature <= names.keys()), None)
        if known is not None and not scale:
            scale = _UNITS[known]
        by_role = {
            role: [names[alias] for alias in aliases if alias in names] for role, aliases in _NAMES.items()
        }
        for role, found_names in by_role.items():
            if len(found_names) > 1:
                raise self._wrong(f"{' and '.join(map(repr, found_names))} both tell the {role}; keep one")
        return _Columns(names[times[0]], scale, {role: found[0] for role, found in by_role.items() if found})

    def _instant(self, row: Mapping[str, Any], columns: _Columns) -> int:
        value = row.get(columns.time)
        number = _number(value)
        if number is None:
            at_ns = self._iso(value, columns)
        elif not columns.scale:
            stem = columns.time
            raise self._wrong(
                f"{stem} {_shown(value)} is a number without a unit; "
                f"rename the column {stem}_s (seconds) or {stem}_ms (milliseconds), or write ISO 8601"
            )
        else:
            self._same_clock("a number", value, columns)
            at_ns = _scaled(number, columns.scale)
        if not _MIN_NS <= at_ns < -_MIN_NS:
            raise self._wrong(f"{columns.time} {_shown(value)} is out of range; check its unit")
        return at_ns

    def _iso(self, value: Any, columns: _Columns) -> int:
        try:
            instant = datetime.fromisoformat(value.strip())
        except (ValueError, AttributeError):
            way_out = "write seconds, milliseconds or ISO 8601"
            if value is None or value == "":
                raise self._wrong(f"{columns.time} is missing; {way_out}") from None
            raise self._wrong(f"{columns.time} {_shown(value)} is no time; {way_out}") from None
        zoned = instant.tzinfo is not None
        self._same_clock("with a zone" if zoned else "without a zone", value, columns)
        since = (instant if zoned else instant.replace(tzinfo=UTC)) - _EPOCH
        return since // _MICROSECOND * 1000

    def _same_clock(self, kind: str, value: Any, columns: _Columns) -> None:
        if self._clock not in {None, kind}:
            raise self._wrong(
                f"{columns.time} {_shown(value)} is {kind}, the lines before are {self._clock}; write all alike"
            )
        self._clock = kind

    def _asked(self, row: Mapping[str, Any], columns: _Columns) -> Asked:
        names = columns.roles
        if not names:
            return _NOTHING
        texts = {role: self._text(row, names[role]) for role in ("path", "method") if role in names}
        path = texts.get("path")
        if path is not None and not path.startswith("/"):
            raise self._wrong(f"path {_shown(path)} does not start with a slash; write /path")
        lengths = {role: self._length(row, role, names[role]) for role in _LIMITS if role in names}
        return Asked(
            **lengths,
            body=self._body(row.get(names["body"])) if "body" in names else None,
            path=path,
            method=texts.get("method"),
        )

    def _length(self, row: Mapping[str, Any], role: str, name: str) -> int | None:
        value = row.get(name)
        if value is None or value == "":
            return None
        number = _number(value)
        limit = _LIMITS[role]
        if not isinstance(number, int) or not 0 <= number <= limit:
            raise self._wrong(
                f"{name} {_shown(value)} is no length; write a whole number from 0 to {limit:,}"
            )
        return number

    def _text(self, row: Mapping[str, Any], name: str) -> str | None:
        value = row.get(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(f"{name} {_shown(value)} is no text; write it in quotes")
        return value or None

    @staticmethod
    def _body(value: Any) -> bytes | None:
        if value is None or value == "":
            return None
        return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


@dataclass(frozen=True)
class _Columns:
    time: str
    scale: int
    """Nanoseconds in the unit of the times; 0 when only ISO 8601 will do."""
    roles: dict[str, str]
    """Role to the column's name."""


_NOTHING: Final = Asked()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _folded(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in " -_.")


def _number(value: Any) -> int | float | None:
    """A finite number, whole when it is written so; None when `value` is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        try:
            value = int(text) if text.lstrip("+-").isdecimal() else float(text)
        except ValueError:
            return None
    return value if isinstance(value, (int, float)) and isfinite(value) else None


def _scaled(number: float, scale: int) -> int:
    """`number * scale`, whole; the part behind the point by itself, for a float of today's seconds is 0.2 us fine."""
    if isinstance(number, int):
        return number * scale
    whole = floor(number)
    return whole * scale + round((number - whole) * scale)


def _shown(value: object) -> str:
    text = repr(value.strip() if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

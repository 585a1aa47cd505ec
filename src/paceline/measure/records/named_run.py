"""A run as the user names it: an id or name in the store, a records file, or a report as JSON."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import msgspec

from paceline.base.errors import ConfigError
from paceline.measure.records.record import RunFile
from paceline.measure.records.record_file import read
from paceline.measure.records.store import Store
from paceline.measure.report import SCHEMA, LoadReport, decode

_KIND, _, _VERSION = SCHEMA.partition("/")


class NamedRun:
    """A report, and its records where they are still there."""

    def __init__(self, report: LoadReport, records: Path | None = None) -> None:
        self.report = report
        self.records = records if records is not None and records.exists() else None

    @cached_property
    def run(self) -> RunFile | None:
        """The records, read when first asked for."""
        return read(self.records) if self.records else None


def open_run(which: str, store: Store, *, without: str | None = None) -> NamedRun:
    """A file of that name, else what `Store.find` finds (never the run `without`).

    Raises ConfigError when there is neither, or the file is neither records nor a report.
    """
    path = Path(which)
    if path.is_file():
        return _of_file(path)
    try:
        stored = store.find(which, without=without)
    except ConfigError:
        if "/" in which or path.suffix:
            raise ConfigError(
                f"no file and no run {which!r}; `paceline runs` lists the runs", param="run"
            ) from None
        raise
    return NamedRun(store.report(stored.run_id), Path(stored.records) if stored.records else None)


def _of_file(path: Path) -> NamedRun:
    try:
        document = _report_document(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}", param="run") from error
    if document is None:
        from paceline.measure.analysis.summary import summarise  # noqa: PLC0415 - not needed where the report is at hand

        run = read(path)
        named = NamedRun(summarise(run), path)
        named.__dict__["run"] = run
        return named
    try:
        return NamedRun(decode(document))
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is no load report: {error}", param="run") from error


def _report_document(path: Path) -> bytes | None:
    """The file when it is a load report of a version that we know, on one line or many; None: not a report."""
    with path.open("rb") as file:
        line = file.readline()
        schema = _schema(line)
        if schema is None and line.strip() == b"{":
            line += file.read()
            schema = _schema(line)
    if schema is None or schema.partition("/")[0] != _KIND:
        return None
    if schema.partition("/")[2] != _VERSION:
        raise ConfigError(
            f"{path} has schema {schema} and this Paceline reads {SCHEMA}; use the Paceline that wrote it",
            param="run",
        )
    return line


class _AnySchema(msgspec.Struct):
    schema: str


def _schema(document: bytes) -> str | None:
    try:
        return msgspec.json.decode(document, type=_AnySchema).schema
    except msgspec.DecodeError:
        return None

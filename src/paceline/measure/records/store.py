"""The runs of this user on this machine: each report, and where its records lie, in one SQLite file.

Several processes may save at once. Beside the file lie the records files that were not given another place.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from paceline.base.errors import ConfigError
from paceline.measure.report import LoadReport, decode, encode

FILE = "runs.sqlite"
SUFFIX = ".records"
"""Of the records files that lie beside it."""
VERSION = 1
WAIT_S = 30.0
"""How long to wait for another process that is saving."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which they were saved
    run_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    summary BLOB NOT NULL,  -- JSON of StoredRun
    report BLOB NOT NULL    -- zlib of the JSON report
);
CREATE INDEX IF NOT EXISTS runs_by_name ON runs (name, sequence);
"""
_LAST = re.compile(r"last(?:~(\d{1,9}))?")


class StoredRun(msgspec.Struct, frozen=True):
    """One line of the list of runs."""

    run_id: str
    name: str
    made_at: str
    url: str
    fingerprint: str
    ended: str
    validity: str
    slo_state: str
    done_per_s: float | None
    p50_ms: float | None
    p95_ms: float | None
    error_percent: float | None
    records: str | None
    """Absolute path of the records file; it may have been removed since."""


def default_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`PACELINE_RUNS`, else `paceline/runs` in the user's data folder (XDG)."""
    if own := environ.get("PACELINE_RUNS"):
        return Path(own).expanduser()
    shared = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(shared).expanduser() / "paceline" / "runs"


class Store:
    """The runs in a folder, made when the first is saved. Every method raises ConfigError when the file is unusable."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or default_folder()).absolute()

    def save(self, report: LoadReport, records: Path | None = None) -> None:
        """Keep a run; one of the same id is replaced and keeps its place."""
        stored = _summary(report, records)
        values = (stored.run_id, stored.name, msgspec.json.encode(stored), zlib.compress(encode(report)))
        with self._open(writing=True) as base:
            base.execute(
                "INSERT INTO runs (run_id, name, summary, report) VALUES (?, ?, ?, ?) ON CONFLICT (run_id) DO UPDATE "
                "SET name = excluded.name, summary = excluded.summary, report = excluded.report",
                values,
            )

    def runs(self, limit: int | None = None) -> list[StoredRun]:
        """The latest first."""
        with self._open() as base:
            rows = base.execute(
                "SELECT summary FROM runs ORDER BY sequence DESC LIMIT ?", (-1 if limit is None else limit,)
            ).fetchall()
        return [msgspec.json.decode(summary, type=StoredRun) for (summary,) in rows]

    def find(self, which: str, *, without: str | None = None) -> StoredRun:
        """The run of this id, `last`, `last~2` (two before it), the latest of this name, or the one id that begins so.

        They are tried in this order; the run `without` is passed over. Raises ConfigError when there is none, or
        several ids begin so.
        """
        with self._open() as base:
            rows = _matches(base, which, without or "")
        if len(rows) == 1:
            return msgspec.json.decode(rows[0][0], type=StoredRun)
        if rows:
            ids = ", ".join(msgspec.json.decode(row[0], type=StoredRun).run_id for row in rows[:5])
            raise ConfigError(f"run {which!r} is ambiguous: {ids} begin so; give more of the id", param="run")
        raise ConfigError(
            f"no run {which!r} in {self.folder}; `paceline runs` lists those there are", param="run"
        )

    def report(self, run_id: str) -> LoadReport:
        """The report of a run. Raises ConfigError when there is no such id."""
        with self._open() as base:
            row = base.execute("SELECT report FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise ConfigError(
                f"no run {run_id!r} in {self.folder}; `paceline runs` lists those there are", param="run"
            )
        try:
            return decode(zlib.decompress(row[0]))
        except (zlib.error, msgspec.DecodeError) as error:
            raise ConfigError(
                f"the report of run {run_id} cannot be read: {error}; remove it with `paceline runs rm {run_id}`",
                param="run",
            ) from error

    def without_report(self) -> list[Path]:
        """Records in this folder that no kept run claims: of runs still going on, or killed before they could report."""
        claimed = {run.records for run in self.runs()}
        return sorted(path for path in self.folder.glob(f"*{SUFFIX}") if str(path) not in claimed)

    def remove(self, run_id: str) -> bool:
        """Forget a run, and remove its records if they lie in this folder; False when there was no such id."""
        with self._open(writing=True) as base:
            row = base.execute("DELETE FROM runs WHERE run_id = ? RETURNING summary", (run_id,)).fetchone()
        if row is None:
            return False
        self._remove_records(msgspec.json.decode(row[0], type=StoredRun))
        return True

    def prune(self, keep: int) -> list[StoredRun]:
        """Forget all but the latest `keep` runs, with their records; returns those forgotten."""
        if keep < 0:
            raise ConfigError(f"keep = {keep}: expected 0 or more runs", param="keep")
        with self._open(writing=True) as base:
            rows = base.execute(
                "DELETE FROM runs WHERE sequence NOT IN (SELECT sequence FROM runs ORDER BY sequence DESC LIMIT ?) "
                "RETURNING summary",
                (keep,),
            ).fetchall()
        gone = [msgspec.json.decode(summary, type=StoredRun) for (summary,) in rows]
        for run in gone:
            self._remove_records(run)
        return gone

    def _remove_records(self, run: StoredRun) -> None:
        """Only what the store itself was given to keep: a file that the user put elsewhere is the user's."""
        if run.records and Path(run.records).parent == self.folder:
            Path(run.records).unlink(missing_ok=True)

    @contextmanager
    def _open(self, *, writing: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        path = self.folder / FILE
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as base:
                _prepare(base, path)
                base.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
                yield base
                base.execute("COMMIT")  # an exception instead closes the connection, which rolls back
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(
                f"the store of runs {path} cannot be used: {error}; PACELINE_RUNS names another folder",
                param="runs",
            ) from error


def _prepare(base: sqlite3.Connection, path: Path) -> None:
    """Make the table if need be; refuse a file of a later version."""
    version = base.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise ConfigError(
            f"the store of runs {path} has version {version} and this Paceline knows {VERSION}; use a newer Paceline, "
            "or name another folder in PACELINE_RUNS",
            param="runs",
        )
    if version == VERSION:
        return
    _use_wal(base)
    base.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.split(";"):
        base.execute(statement)
    base.execute(f"PRAGMA user_version = {VERSION}")
    base.execute("COMMIT")


def _use_wal(base: sqlite3.Connection) -> None:
    """Readers then do not wait for writers. SQLite does not wait for a lock here, so that we must."""
    give_up_at = time.monotonic() + WAIT_S
    while True:
        try:
            base.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)
        else:
            return


def _matches(base: sqlite3.Connection, which: str, without: str) -> list[tuple[bytes]]:
    """Summaries that `which` names: one, none, or several that begin so."""
    if last := _LAST.fullmatch(which):
        back = int(last[1] or 0)
        query = "SELECT summary FROM runs WHERE run_id != ? ORDER BY sequence DESC LIMIT 1 OFFSET ?"
        return base.execute(query, (without, back)).fetchall()
    for condition in ("run_id = ?1", "name = ?1", "substr(run_id, 1, length(?1)) = ?1"):
        limit = 1 if condition == "name = ?1" else 6
        query = f"SELECT summary FROM runs WHERE {condition} AND run_id != ?2 ORDER BY sequence DESC LIMIT {limit}"  # noqa: S608
        if which and (rows := base.execute(query, (which, without)).fetchall()):
            return rows
    return []


def _summary(report: LoadReport, records: Path | None) -> StoredRun:
    return StoredRun(
        run_id=report.run_id,
        name=report.plan.name,
        made_at=report.made_at,
        url=report.plan.target.url,
        fingerprint=report.host.fingerprint,
        ended=report.ended,
        validity=report.validity.state,
        slo_state=report.slo_state,
        done_per_s=report.done_per_s.value,
        p50_ms=_quantile(report, "p50"),
        p95_ms=_quantile(report, "p95"),
        error_percent=100 * report.failed / report.sent if report.sent else None,
        records=str(records.absolute()) if records else None,
    )


def _quantile(report: LoadReport, name: str) -> float | None:
    known = report.latency_ms.quantiles.get(name)
    return known.value if known else None

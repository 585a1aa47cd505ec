"""The whole run, in order: build or open, curve, rounds in turns, changes, precisions. What is there is told at any end."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from paceline import __version__
from paceline.base.errors import EngineError
from paceline.vectors.bench.contestant import Setup
from paceline.vectors.bench.contestant_process import ContestantProcess, Interrupted, Stopped
from paceline.vectors.bench.corpus import Corpus
from paceline.vectors.bench.curve import EFFORTS, curve, smallest
from paceline.vectors.bench.measure_build import BUILT, INDEX
from paceline.vectors.bench.measure_search import Pass
from paceline.vectors.bench.report import (
    SCHEMA,
    Absent,
    BenchReport,
    Build,
    Changes,
    Host,
    Point,
    Precision,
    Result,
    Settings,
    Size,
)
from paceline.vectors.bench.roster import Entry
from paceline.vectors.bench.rounds import in_turns
from paceline.vectors.bench.worker import DoBuild, DoChanges, DoOpen, DoPrecisions, DoSearch, Job

Part = Literal["build", "curve", "rounds", "changes", "precisions"]
PARTS: Final[tuple[Part, ...]] = ("build", "curve", "rounds", "changes", "precisions")
Say = Callable[[str], None]
_CURVE: Final = "curve.json"
_OURS: Final = "paceline"
_FIRST_EFFORT: Final = 100


class Kept(msgspec.Struct, frozen=True):
    """What an earlier run found of an index, in its folder."""

    curve: list[Point]
    chosen: dict[str, int]
    """Smallest ef by recall."""


class Asked(msgspec.Struct, frozen=True):
    """What the user wants."""

    entries: list[Entry]
    settings: Settings
    parts: tuple[Part, ...] = PARTS
    efforts: tuple[int, ...] = EFFORTS
    reuse: bool = False
    """Take curves that the folder holds, instead of measuring them again."""


class Bench:
    """A run in a folder; `report` may be asked for at any time."""

    def __init__(  # noqa: PLR0913 - keywords
        self, asked: Asked, corpus: Corpus, folder: Path, *, host: Host, interrupted: Interrupted, say: Say
    ) -> None:
        self.asked, self.corpus, self.folder = asked, corpus, folder
        self._host, self._interrupted, self._say = host, interrupted, say
        self._began_at, self._began = time.monotonic(), datetime.now(UTC)
        self._results: dict[str, Result] = {}
        self._chosen: dict[str, dict[float, int]] = {}
        self._precisions: list[Precision] = []

    def run(self) -> BenchReport:
        """All parts that are asked for; on Ctrl-C what there is."""
        self.corpus.write(self.folder)
        ready = [entry for entry in self.asked.entries if not entry.missing]
        with suppress(Stopped), ExitStack() as stack:
            for entry in ready:
                self._results[entry.name] = Result(entry.name, entry.family, entry.version)
                with self._told(entry.name):
                    self._build(entry)
            if {"curve", "rounds"} & set(self.asked.parts):
                self._search(ready, stack)
            if "changes" in self.asked.parts:
                for entry in ready:
                    with self._told(entry.name):
                        self._change(entry)
            if "precisions" in self.asked.parts and self._is_whole(_OURS):
                with self._told(_OURS):
                    self._compare_precisions()
        return self.report()

    def report(self) -> BenchReport:
        """What is known so far."""
        return BenchReport(
            schema=SCHEMA,
            made_at=self._began.isoformat(timespec="seconds"),
            paceline=__version__,
            commit=commit(),
            host=self._host,
            corpus=self.corpus.shape,
            settings=self.asked.settings,
            seconds=time.monotonic() - self._began_at,
            results=list(self._results.values()),
            absent=[Absent(one.name, one.missing) for one in self.asked.entries if one.missing],
            precisions=self._precisions,
            interrupted=self._interrupted(),
        )

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """What goes wrong with one contestant is its result, and the others go on."""
        try:
            yield
        except EngineError as error:
            self._put(name, failed=error.message)
            self._say(f"{name} failed: {error.message}")

    def _put(self, name: str, **found: object) -> None:
        self._results[name] = msgspec.structs.replace(self._results[name], **found)

    def _is_whole(self, name: str) -> bool:
        return name in self._results and not self._results[name].failed

    def _setup(self, folder: Path) -> Setup:
        settings = self.asked.settings
        return Setup(
            str(folder),
            self.corpus.shape.dimensions,
            settings.m,
            settings.ef_construction,
            settings.build_threads,
        )

    @contextmanager
    def _working(self, entry: Entry, index: Path) -> Iterator[ContestantProcess]:
        job = Job(entry.name, self._setup(index), str(self.folder), self.asked.settings.pass_s)
        process = ContestantProcess(job, self._interrupted)
        try:
            yield process
        except BaseException:  # whatever it was: it may be in the middle of something long
            process.close(quietly=False)
            raise
        process.close()

    def _index(self, entry: Entry) -> Path:
        return self.folder / entry.name / INDEX

    def _build(self, entry: Entry) -> None:
        """Build the index, unless the folder holds it."""
        kept = self.folder / entry.name / BUILT
        if kept.exists():
            built = msgspec.json.decode(kept.read_bytes(), type=Build)
            self._put(entry.name, build=msgspec.structs.replace(built, was_kept=True))
            return
        index = self._index(entry)
        shutil.rmtree(index, ignore_errors=True)  # what a run left that was broken off
        index.mkdir(parents=True)
        self._say(f"{entry.name}: building")
        with self._working(entry, index) as process:
            built = process.ask(DoBuild(), Build)
        kept.write_bytes(msgspec.json.encode(built))
        self._put(entry.name, build=built)

    def _search(self, ready: Sequence[Entry], stack: ExitStack) -> None:
        """All open at once, the curve of each, then rounds in turns."""
        processes: dict[str, ContestantProcess] = {}
        for entry in ready:
            if not self._is_whole(entry.name):
                continue
            with self._told(entry.name):
                process = stack.enter_context(self._working(entry, self._index(entry)))
                self._say(f"{entry.name}: opening")
                self._put(entry.name, size=process.ask(DoOpen(_FIRST_EFFORT), Size))
                self._curve(entry, process)
                processes[entry.name] = process
        if "rounds" in self.asked.parts:
            for target in self.asked.settings.recalls:
                self._rounds(target, processes)

    def _curve(self, entry: Entry, process: ContestantProcess) -> None:
        kept = self.folder / entry.name / _CURVE
        wanted = self.asked.settings.recalls
        if self.asked.reuse and kept.exists():
            found = msgspec.json.decode(kept.read_bytes(), type=Kept)
        else:

            def search(effort: int, singles: bool) -> Pass:
                self._say(f"{entry.name}: searching with ef {effort}")
                return process.ask(DoSearch(effort, singles), Pass)

            shape = self.corpus.shape
            points = curve(search, shape.k, shape.queries, self.asked.efforts)
            chosen = {str(target): smallest(points, search, target) for target in wanted}
            found = Kept(points, {target: effort for target, effort in chosen.items() if effort is not None})
            kept.write_bytes(msgspec.json.encode(found))
        self._chosen[entry.name] = {float(target): effort for target, effort in found.chosen.items()}
        missed = [target for target in wanted if target not in self._chosen[entry.name]]
        self._put(entry.name, curve=found.curve, missed=missed)

    def _rounds(self, target: float, processes: dict[str, ContestantProcess]) -> None:
        efforts = {
            name: self._chosen[name][target] for name in processes if target in self._chosen.get(name, {})
        }

        def search(name: str, effort: int) -> Pass:
            self._say(f"recall {target}: {name} with ef {effort}")
            return processes[name].ask(DoSearch(effort, singles=True), Pass)

        rounds, queries = self.asked.settings.rounds, self.corpus.shape.queries
        for name, held in in_turns(target, efforts, search, rounds, queries).items():
            self._put(name, held=[*self._results[name].held, held])

    def _change(self, entry: Entry) -> None:
        """In a copy, so that the index stays as it was built."""
        if not self._is_whole(entry.name):
            return
        size = self._results[entry.name].size
        if size is not None and size.unchangeable:
            self._put(entry.name, changes=Changes(0, None, None, None, None, size.unchangeable))
            return
        self._say(f"{entry.name}: replacing and deleting")
        efforts = self._chosen.get(entry.name, {})
        effort = efforts.get(max(efforts, default=0.0), _FIRST_EFFORT)
        with tempfile.TemporaryDirectory(prefix="paceline-bench-", dir=self.folder) as folder:
            copy = Path(folder) / INDEX
            shutil.copytree(self._index(entry), copy)
            with self._working(entry, copy) as process:
                process.ask(DoOpen(effort), Size)
                self._put(entry.name, changes=process.ask(DoChanges(effort), Changes))

    def _compare_precisions(self) -> None:
        self._say(f"{_OURS}: precisions")
        index = self.folder / _OURS / INDEX
        entry = next(entry for entry in self.asked.entries if entry.name == _OURS)
        with self._working(entry, index) as process:
            self._precisions = process.ask(DoPrecisions(), list[Precision])


def commit() -> str:
    """The commit of these sources, shortened; empty where they are no checkout."""
    command = ("git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD")
    with suppress(OSError):
        done = subprocess.run(  # noqa: S603 - git, on our own folder
            command, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()
    return ""

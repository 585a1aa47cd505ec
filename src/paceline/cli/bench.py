"""`paceline bench`: our own parts measured beside others, on the user's data."""

from __future__ import annotations

import math
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from cyclopts import App, Parameter

from paceline.base.errors import ConfigError
from paceline.cli.console import say, say_note

if TYPE_CHECKING:
    from paceline.vectors.bench.bench import Part
    from paceline.vectors.bench.corpus import Corpus
    from paceline.vectors.bench.report import BenchReport, Host

SEED: Final = 1
_SUFFIXES: Final = {".json", ".html"}

command = App(
    name="bench",
    help="Measure parts of Paceline beside other libraries and products.",
    help_epilogue="Examples:\n\n    paceline bench vectors --clustered 100000",
)
vectors_command = App(
    name="vectors",
    help_epilogue="Examples:\n\n"
    "    paceline bench vectors --clustered 100000\n"
    "    paceline bench vectors --data base.npy --queries query.npy --output bench.html\n"
    "    paceline bench vectors --data records.parquet --only paceline --only faiss --recall 0.99\n"
    "    paceline bench vectors --data base.npy --folder kept --part build     indexes first, the rest later\n"
    "    paceline bench vectors --data base.npy --folder kept --json > bench.json\n\n"
    "Contestants that are not installed are named with the command that installs them. Ctrl-C shows what there is.",
)
command.command(vectors_command)


@vectors_command.default
def vectors(  # noqa: PLR0913 - the options of the command
    *,
    data: Annotated[
        Path | None, Parameter(help="Vectors to index: .npy, .jsonl or .parquet, as the loader reads them.")
    ] = None,
    clustered: Annotated[
        int, Parameter(show_default=False, help="Instead of --data: so many synthetic ones, in clusters.")
    ] = 0,
    queries: Annotated[
        Path | None, Parameter(help="Queries, in the same forms. Default: some of the vectors are held out.")
    ] = None,
    most_queries: Annotated[int, Parameter(help="Queries that are used, the first ones.")] = 1000,
    only: Annotated[
        tuple[str, ...],
        Parameter(negative="", show_default=False, help="A contestant, or all of a family; may be repeated."),
    ] = (),
    recall: Annotated[
        tuple[float, ...],
        Parameter(negative="", help="recall@10 at which all are compared; may be repeated."),
    ] = (0.97, 0.99),
    rounds: Annotated[int, Parameter(help="Rounds in turns at each recall.")] = 5,
    pass_seconds: Annotated[
        float,
        Parameter(
            help="Seconds of one pass over the queries, half of it all in one call, half one by one: "
            "who is not done by then has its figures from those it did."
        ),
    ] = 20.0,
    m: Annotated[int, Parameter(name="--m", help="Neighbours in a graph.")] = 16,
    ef_construction: Annotated[int, Parameter(help="Candidates of neighbours as a graph is built.")] = 200,
    build_threads: Annotated[
        int, Parameter(show_default=False, help="Threads that build; default: all cores.")
    ] = 0,
    part: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            help="build, curve, rounds, changes or precisions; may be repeated. Default: all.",
        ),
    ] = (),
    folder: Annotated[
        Path | None,
        Parameter(help="Keep indexes here, and use those that are there. Default: none are kept."),
    ] = None,
    reuse_curves: Annotated[
        bool, Parameter(negative="", help="Take the curves that the folder holds from an earlier run.")
    ] = False,
    seed: Annotated[
        int, Parameter(help="Of what is drawn: synthetic vectors, held-out queries, changes.")
    ] = SEED,
    json: Annotated[bool, Parameter(negative="", help="Print the report as JSON instead of tables.")] = False,
    output: Annotated[
        tuple[Path, ...],
        Parameter(
            negative="",
            show_default=False,
            help="Write the report to FILE.json or FILE.html; may be repeated.",
        ),
    ] = (),
) -> int:
    """Measure Paceline's vector collections beside other libraries and products, on your own vectors.

    Recall against speed and latency, build, memory, updates and deletes; the truth is brute force. Searches run on one
    core, and all contestants take turns.
    """
    from paceline.vectors.bench.bench import Asked, Bench  # noqa: PLC0415 - numpy, which `--help` does not need
    from paceline.vectors.bench.report import Settings  # noqa: PLC0415
    from paceline.vectors.bench.roster import chosen  # noqa: PLC0415

    _check(recall, rounds, most_queries, pass_seconds, output)
    parts = _parts(part)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    settings = Settings(sorted(set(recall)), rounds, m, ef_construction, build_threads or cores, pass_seconds)
    asked = Asked(chosen(only), settings, parts, reuse=reuse_curves)
    with _told() as (tell, interrupted), _in_folder(folder) as kept:
        tell("reading vectors, and their true neighbours")
        corpus = _corpus(data, clustered, queries, most_queries, seed, kept)
        report = Bench(asked, corpus, kept, host=_host(), interrupted=interrupted, say=tell).run()
    _show(report, output, json=json)
    if report.interrupted:
        return 130
    return 1 if any(result.failed for result in report.results) else 0


def _check(
    recall: tuple[float, ...], rounds: int, most_queries: int, pass_seconds: float, output: tuple[Path, ...]
) -> None:
    """Before anything is built. ConfigError."""
    wrong = next((one for one in recall if not 0 < one <= 1), None)
    if wrong is not None or not recall:
        raise ConfigError(f"--recall {wrong}: more than 0 and at most 1, such as 0.99", param="recall")
    if rounds < 1 or most_queries < 1:
        raise ConfigError(f"--rounds {rounds} and --most-queries {most_queries}: 1 or more of each")
    if not 0 < pass_seconds < math.inf:
        raise ConfigError(f"--pass-seconds {pass_seconds}: more than 0, such as 20", param="pass_seconds")
    for file in output:
        if file.suffix.lower() not in _SUFFIXES:
            raise ConfigError(f"--output {file}: end it in .json or .html, which says what it holds")
        if not file.parent.is_dir():
            raise ConfigError(f"--output {file}: {file.parent} is no folder; make it first")


def _parts(wanted: tuple[str, ...]) -> tuple[Part, ...]:
    from paceline.vectors.bench.bench import PARTS  # noqa: PLC0415

    unknown = next((name for name in wanted if name not in PARTS), None)
    if unknown is not None:
        raise ConfigError(f"--part {unknown}: there are {', '.join(PARTS)}", param="part")
    return tuple(part for part in PARTS if not wanted or part in wanted)


def _corpus(  # noqa: PLR0913, PLR0917 - the options of the data
    data: Path | None, count: int, queries: Path | None, most_queries: int, seed: int, kept: Path
) -> Corpus:
    """The vectors, and queries of the user's, or held out. ConfigError, InvalidRequest."""
    from paceline.vectors.bench.clustered import clustered  # noqa: PLC0415
    from paceline.vectors.bench.corpus import FEWEST, Corpus, held_out, read_vectors  # noqa: PLC0415

    if (data is None) == (count == 0):
        raise ConfigError("say what to index: one of --data FILE and --clustered COUNT")
    if data is None:
        if count < FEWEST:
            raise ConfigError(f"--clustered {count}: {FEWEST:,} or more")
        base, drawn = clustered(count, most_queries, seed=seed)
        name, source = f"{count:,} synthetic, clustered", "of the same mixture"
    else:
        base, name = read_vectors(data), data.name
        if queries is None:
            base, drawn = held_out(base, most_queries, seed)
            source = "held out"
    if queries is not None:
        drawn, source = read_vectors(queries)[:most_queries], queries.name
    return Corpus.of(name, base, drawn, queries_from=source, k=10, seed=seed, kept=kept)


@contextmanager
def _in_folder(wanted: Path | None) -> Iterator[Path]:
    """The user's folder, or one that is gone afterwards, whatever ended the run."""
    if wanted is not None:
        yield wanted
        return
    folder = Path(tempfile.mkdtemp(prefix="paceline-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _told() -> Iterator[tuple[Callable[[str], None], Callable[[], bool]]]:
    """What is being done, on standard error: one line that changes if that is a terminal; and whether Ctrl-C came."""
    from paceline.cli.measure import until_interrupted  # noqa: PLC0415

    with until_interrupted() as interrupted:
        if not sys.stderr.isatty():
            yield say_note, interrupted
            return
        from rich.console import Console  # noqa: PLC0415

        with Console(stderr=True).status("") as line:
            yield line.update, interrupted


def _host() -> Host:
    from paceline.cli.version import machine  # noqa: PLC0415
    from paceline.vectors.bench.report import Host  # noqa: PLC0415

    here = machine()
    return Host(
        hostname=platform.node(),
        cpu=here.processor,
        cores=here.cores,
        memory_bytes=here.memory_bytes,
        system=here.system,
        python=platform.python_version(),
    )


def _show(report: BenchReport, output: tuple[Path, ...], *, json: bool) -> None:
    from paceline.vectors.bench.render import page, terminal  # noqa: PLC0415

    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1).decode()
    for file in output:
        text = encoded if file.suffix.lower() == ".json" else page.render(report)
        try:
            file.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise ConfigError(f"--output {file} cannot be written: {error.strerror or error}") from error
    if json:
        say(encoded)
        return
    terminal.show(report, files={file.suffix[1:]: file for file in output})

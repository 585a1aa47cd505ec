"""`paceline vectors load`: a file of vectors or texts into a collection, resumable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import App, Parameter

from paceline.base.clock import monotonic
from paceline.base.errors import ConfigError, InvalidRequest, PacelineError
from paceline.base.vectors_collections import CollectionCard, Compact, DescribeCollection
from paceline.base.vectors_records import Upsert, VectorItem
from paceline.cli.console import progress, say, say_note
from paceline.cli.load_pace import LoadPace
from paceline.cli.vectors_collections import Json, Name
from paceline.cli.vectors_place import NO_PLACE, Ask, Place

if TYPE_CHECKING:
    from paceline.vectors.bulk import Loaded

load = App(
    name="load",
    help_epilogue="Examples:\n\n"
    "    paceline vectors load papers papers.jsonl\n"
    "    paceline vectors load papers papers.jsonl --text-field abstract\n"
    "    paceline vectors load points points.npy --folder vectors\n\n"
    'A line of .jsonl is {"id": "a", "values": [0.1, ...], "metadata": {"year": 2001}}; .parquet has columns id, '
    "values and others, which are metadata; .npy holds rows, whose ids are their numbers or the lines of NAME.ids.\n\n"
    "FILE.journal says which batches have arrived. The same command goes on from it after an interruption, and sends "
    "again only what failed; it is removed when all is there.",
)


@load.default
async def load_file(  # noqa: PLR0913 - the options of the command
    name: Name,
    file: Annotated[Path, Parameter(help="A file of kind .jsonl, .ndjson, .parquet or .npy.")],
    /,
    *,
    text_field: Annotated[
        str | None, Parameter(help="Load this field as text and have it embedded, instead of vectors.")
    ] = None,
    namespace: Annotated[str, Parameter(help="For records that do not say one.")] = "",
    batch: Annotated[int, Parameter(help="Records of one request.")] = 100,
    at_once: Annotated[int, Parameter(help="Requests at a time.")] = 4,
    attempts: Annotated[int, Parameter(help="Tries of a batch, with waits that double.")] = 3,
    journal: Annotated[Path | None, Parameter(help="By default FILE.journal.")] = None,
    compact: Annotated[
        bool | None,
        Parameter(
            help="Join all under one graph at the end. Default: with --folder, as no server does it later."
        ),
    ] = None,
    json: Json = False,
    place: Place = NO_PLACE,
) -> int:
    """Load all records of a file. What is acknowledged is safe; what fails is told, and the rest goes on."""
    from paceline.flow.retry import RetryPolicy  # noqa: PLC0415 - numpy and more, which `--help` does without
    from paceline.vectors.bulk import LoadPolicy, journal_of  # noqa: PLC0415
    from paceline.vectors.bulk import load as loading  # noqa: PLC0415
    from paceline.vectors.bulk_files import TextFields, count_records, read_records  # noqa: PLC0415

    total = count_records(file)
    kept = journal or journal_of(file)
    policy = LoadPolicy(batch, at_once, RetryPolicy(attempts=attempts, first_wait_s=0.5, multiplier=2.0))
    started = monotonic()
    async with place.opened(attempts=1) as ask:
        card: CollectionCard = await ask(DescribeCollection(collection=name))
        if not card.records and kept.exists():
            raise ConfigError(
                f"{kept} tells of records that have arrived, and {name} is empty; delete it to load all"
            )
        async with _told(f"loading {file.name}", total, kept) as tell:
            try:
                done = await loading(
                    file,
                    _sender(ask, name),
                    namespace=namespace,
                    journal=kept,
                    into=f"{name} at {place}",
                    read=read_records if text_field is None else TextFields(text_field),
                    policy=policy,
                    progress=tell,
                )
            except InvalidRequest as error:  # in the file: its line or row is named
                raise ConfigError(f"{error.message}; what came before it is loaded") from error
        seconds = monotonic() - started
        if done.is_complete and (place.folder is not None if compact is None else compact):
            say_note("joining all under one graph")
            await ask(Compact(collection=name))
    if json:
        say(
            msgspec.json.encode(
                {**msgspec.to_builtins(done, str_keys=True), "seconds": round(seconds, 3)}
            ).decode()
        )
    else:
        before = f", {done.skipped:,} were there before" if done.skipped else ""
        say(
            f"loaded {done.records:,} records in {seconds:.1f} s ({done.records / max(seconds, 1e-9):,.0f}/s){before}"
        )
    if not done.is_complete:
        raise PacelineError(_of_failures(done, batch, kept))
    return 0


def _sender(ask: Ask, name: str) -> Callable[[Sequence[Any]], Any]:
    from paceline.client.vector_messages import packed  # noqa: PLC0415 - numpy
    from paceline.vectors.bulk_files import TextRecord  # noqa: PLC0415

    def item(record: Any) -> VectorItem:
        if isinstance(record, TextRecord):
            return VectorItem(record.id, None, dict(record.metadata) or None, record.text)
        return VectorItem(record.id, packed(record.vector), record.metadata)

    async def send(batch: Sequence[Any]) -> None:
        spaces: dict[str, list[VectorItem]] = {}
        for record in batch:
            spaces.setdefault(record.namespace, []).append(item(record))
        for namespace, items in spaces.items():
            await ask(Upsert(collection=name, vectors=items, namespace=namespace))

    return send


@asynccontextmanager
async def _told(title: str, total: int, journal: Path) -> AsyncIterator[Callable[[Loaded], None]]:
    """A bar on a terminal, lines now and then elsewhere; and how to go on, when the user leaves."""
    pace = LoadPace(total, monotonic())
    try:
        with progress(title, total, unit="records") as advance:

            def tell(so_far: Loaded) -> None:
                arrived = so_far.records + so_far.skipped
                advance(arrived - pace.arrived)
                line = pace.line(so_far.records, so_far.skipped, monotonic())
                if line is not None:
                    say_note(line)

            yield tell
    except asyncio.CancelledError:  # Ctrl-C
        say_note(f"stopped; {pace.arrived:,} of {total:,} records are there")
        say_note(f"the same command goes on from {journal}")
        raise


def _of_failures(done: Loaded, batch: int, journal: Path) -> str:
    number, reason = min(done.failed.items())
    failed = "1 batch" if len(done.failed) == 1 else f"{len(done.failed)} batches"
    return (
        f"{failed} failed, the first (records {number * batch + 1:,} to {(number + 1) * batch:,}) with: {reason}; "
        f"the same command sends again what {journal.name} does not name"
    )

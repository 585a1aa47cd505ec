"""`paceline vectors list`, `create`, `describe` and `drop`."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter

from paceline.base.errors import ConfigError
from paceline.base.vectors_collections import (
    CollectionCard,
    Collections,
    CreateCollection,
    Describe,
    DescribeCollection,
    Described,
    DropCollection,
    ListCollections,
)
from paceline.cli.console import say, say_note
from paceline.cli.vectors_place import NO_PLACE, Place

Name = Annotated[str, Parameter(help="The collection.")]
Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False, help="Print JSON.")]
Yes = Annotated[bool, Parameter(name="--yes", negative="", show_default=False, help="Do not ask.")]

listing = App(
    name="list",
    help_epilogue="Examples:\n\n    paceline vectors list\n    paceline vectors list --folder vectors --json",
)
create = App(
    name="create",
    help_epilogue="Examples:\n\n"
    "    paceline vectors create papers                    for the model's vectors\n"
    "    paceline vectors create photos --dimension 512 --metric dot\n"
    "    paceline vectors create large --dimension 768 --shards 8\n"
    "    paceline vectors create small --dimension 768 --reduction pca --kept 256 \\\n"
    "        --sample some.npy",
)
describe = App(
    name="describe",
    help_epilogue="Examples:\n\n"
    "    paceline vectors describe papers\n"
    "    paceline vectors describe papers --json | jq .totalVectorCount",
)
drop = App(name="drop", help_epilogue="Example:\n\n    paceline vectors drop papers --yes")


@listing.default
async def list_collections(*, json: Json = False, place: Place = NO_PLACE) -> None:
    """List the collections, with what each holds."""
    async with place.opened() as ask:
        found: Collections = await ask(ListCollections())
    if json:
        say(msgspec.json.encode(found.collections).decode())
    elif not found.collections:
        say_note("no collections; `paceline vectors create NAME` makes one")
    else:
        say(cards_table(found.collections))


@create.default
async def create_collection(  # noqa: PLR0913 - the options of the command
    name: Name,
    /,
    *,
    dimension: Annotated[int, Parameter(help="Numbers of a vector; 0: those of the embedding model.")] = 0,
    metric: Annotated[Literal["cosine", "dot", "l2"], Parameter(help="What near means.")] = "cosine",
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8", "binary"],
        Parameter(help="How the vectors that are searched are held."),
    ] = "int8",
    rescore: Annotated[
        Literal["none", "fp16", "bf16", "fp32"],
        Parameter(help="Copy on which the best candidates are scored again."),
    ] = "fp16",
    reduction: Annotated[
        Literal["none", "truncate", "pca"], Parameter(help="How dimensions are left out.")
    ] = "none",
    kept: Annotated[int, Parameter(help="Dimensions that are kept; 0 keeps all.")] = 0,
    sample: Annotated[
        str | None, Parameter(help="File of vectors (.npy, or JSON) from which pca learns.")
    ] = None,
    shards: Annotated[int, Parameter(help="Parts that are searched in parallel.")] = 1,
    text_field: Annotated[
        str, Parameter(help="Field of the metadata whose words are indexed; empty: none.")
    ] = "text",
    json: Json = False,
    place: Place = NO_PLACE,
) -> None:
    """Make a collection. What is said here holds for all its life, but the precision and the shards."""
    learned: list[Any] | None = None
    if sample is not None:
        from paceline.cli.vectors_input import vectors_of  # noqa: PLC0415 - numpy

        learned = [*vectors_of(sample, "--sample")]
    asked = CreateCollection(
        name=name,
        dimension=dimension,
        metric=metric,
        precision=precision,
        rescore=rescore,
        reduction=reduction,
        kept=kept,
        sample=learned,
        shards=shards,
        text_field=text_field,
    )
    async with place.opened(may_make=True) as ask:
        say_card(await ask(asked), json=json)


@describe.default
async def describe_collection(name: Name, /, *, json: Json = False, place: Place = NO_PLACE) -> None:
    """Show a collection: what it is, how many records there are, its sizes, and what is wrong."""
    async with place.opened() as ask:
        card: CollectionCard = await ask(DescribeCollection(collection=name))
        stats: Described = await ask(Describe(collection=name))
    told = {**msgspec.to_builtins(card), **msgspec.to_builtins(stats)}
    if json:
        say(msgspec.json.encode(told).decode())
        return
    say_card(card)
    for namespace, counted in stats.namespaces.items():
        say(f"  namespace {namespace or '(default)'}: {counted.vector_count:,}")
    for field, value in stats.details.items():
        if field not in {"records", "namespaces", "dimensions", "version"} and value not in ({}, []):
            say(f"  {field.replace('_', ' ')}: {_shown(value)}")


@drop.default
async def drop_collection(name: Name, /, *, yes: Yes = False, place: Place = NO_PLACE) -> None:
    """Delete a collection and all its records. Asks before, unless --yes."""
    async with place.opened() as ask:
        if not yes:
            card: CollectionCard = await ask(DescribeCollection(collection=name))
            confirm(f"delete {name} and its {card.records:,} records?")
        await ask(DropCollection(collection=name))
    say_note(f"dropped {name}")


def confirm(question: str) -> None:
    """Go on only after a yes on the terminal. Raises ConfigError."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} Nobody is there to answer; add --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise ConfigError("nothing was deleted")


def say_card(card: CollectionCard, *, json: bool = False) -> None:
    """Print a collection as it is listed."""
    say(msgspec.json.encode(card).decode() if json else cards_table([card]))


def cards_table(cards: list[CollectionCard]) -> str:
    """One line a collection."""
    rows = [("name", "records", "dimension", "metric", "precision", "shards", "ef", "candidates", "promise")]
    rows += [
        (
            card.name,
            f"{card.records:,}",
            str(card.dimension),
            card.metric,
            card.precision,
            str(card.shards),
            str(card.ef or "-"),
            str(card.candidates or "-"),
            card.promise,
        )
        for card in cards
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            (str.rjust if place in {1, 2, 5, 6, 7} else str.ljust)(cell, width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _shown(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

"""`paceline vectors compact`, `verify`, `reencode` and `reshard`: what concerns a collection as a whole."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from paceline.base.vectors_collections import (
    Compact,
    ComparePrecisions,
    Precisions,
    Reencode,
    Reshard,
    Resharded,
    Verified,
    Verify,
)
from paceline.cli.console import say, say_note
from paceline.cli.vectors_collections import Json, Name, say_card
from paceline.cli.vectors_place import NO_PLACE, Place

compact = App(name="compact", help_epilogue="Example:\n\n    paceline vectors compact papers")
verify = App(name="verify", help_epilogue="Example:\n\n    paceline vectors verify papers --json")
precisions = App(
    name="precisions",
    help_epilogue="Example:\n\n    paceline vectors precisions papers --k 100\n\n"
    "Measured on 20,000 records at most, under a graph made for it; some seconds. `paceline vectors reencode` changes.",
)
reencode = App(
    name="reencode", help_epilogue="Example:\n\n    paceline vectors reencode papers --precision fp16"
)
reshard = App(name="reshard", help_epilogue="Example:\n\n    paceline vectors reshard papers --shards 4")


@compact.default
async def compact_collection(name: Name, /, *, json: Json = False, place: Place = NO_PLACE) -> None:
    """Join all segments of a collection under one graph, and wait for it; reads and writes go on."""
    async with place.opened() as ask:
        say_card(await ask(Compact(collection=name)), json=json)


@verify.default
async def verify_collection(name: Name, /, *, json: Json = False, place: Place = NO_PLACE) -> int:
    """Read all files of a collection against their checksums; exit status 1 if one was changed."""
    async with place.opened() as ask:
        found: Verified = await ask(Verify(collection=name))
    if json:
        say(msgspec.json.encode({"damaged": found.damaged}).decode())
    else:
        for segment, reason in found.damaged.items():
            say(f"segment {segment} is set aside: {reason}")
        if not found.damaged:
            say_note(f"{name}: all files are as they were written")
    return 1 if found.damaged else 0


@precisions.default
async def compare_precisions(
    name: Name,
    /,
    *,
    k: Annotated[int, Parameter(help="Results of a query.")] = 10,
    json: Json = False,
    place: Place = NO_PLACE,
) -> None:
    """Measure recall and bytes of a vector in each precision, on the collection's own vectors."""
    async with place.opened() as ask:
        found: Precisions = await ask(ComparePrecisions(collection=name, k=k))
    if json:
        say(msgspec.json.encode(found).decode())
        return
    from paceline.vectors.levels import PrecisionTable  # noqa: PLC0415 - numpy and the kernels

    say(msgspec.convert(found, PrecisionTable, from_attributes=True).text())


@reencode.default
async def reencode_collection(
    name: Name,
    /,
    *,
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8", "binary"],
        Parameter(help="How the vectors that are searched are held from then on."),
    ],
    json: Json = False,
    place: Place = NO_PLACE,
) -> None:
    """Hold the vectors that are searched in another precision; searches go on meanwhile."""
    async with place.opened() as ask:
        say_card(await ask(Reencode(collection=name, precision=precision)), json=json)


@reshard.default
async def reshard_collection(
    name: Name,
    /,
    *,
    shards: Annotated[int, Parameter(help="How many there are to be.")],
    json: Json = False,
    place: Place = NO_PLACE,
) -> None:
    """Spread a collection over another number of shards; reads and writes go on."""
    async with place.opened() as ask:
        done: Resharded = await ask(Reshard(collection=name, shards=shards))
    if json:
        say(msgspec.json.encode(done).decode())
    else:
        say_note(
            f"{name} has {shards} shards: {done.slots_moved} slots, {done.records_moved:,} records moved"
        )

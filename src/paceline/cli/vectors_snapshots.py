"""`paceline vectors snapshot`, `snapshots` and `restore`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from paceline.base.vectors_collections import ListSnapshots, Restore, Snapshot, Snapshots
from paceline.cli.console import say, say_note
from paceline.cli.vectors_collections import Json, Name, say_card
from paceline.cli.vectors_place import NO_PLACE, Place

snapshot = App(
    name="snapshot",
    help_epilogue="Examples:\n\n"
    "    paceline vectors snapshot papers\n"
    "    paceline vectors snapshot papers monday",
)
snapshots = App(name="snapshots", help_epilogue="Example:\n\n    paceline vectors snapshots papers")
restore = App(
    name="restore",
    help_epilogue="Examples:\n\n"
    "    paceline vectors restore papers monday              after it was dropped\n"
    "    paceline vectors restore papers monday --into old   beside it",
)


@snapshot.default
async def take(
    name: Name,
    snapshot: Annotated[str | None, Parameter(help="Its name; by default the time.")] = None,
    /,
    *,
    json: Json = False,
    place: Place = NO_PLACE,
) -> None:
    """Keep a collection as it is now, under a name; reads and writes go on."""
    chosen = snapshot or datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    async with place.opened() as ask:
        await ask(Snapshot(collection=name, name=chosen))
    if json:
        say(msgspec.json.encode({"collection": name, "snapshot": chosen}).decode())
    else:
        say_note(f"kept {name} as {chosen}; `paceline vectors restore {name} {chosen}` brings it back")


@snapshots.default
async def list_snapshots(
    name: Annotated[str | None, Parameter(help="Only of this collection.")] = None,
    /,
    *,
    json: Json = False,
    place: Place = NO_PLACE,
) -> None:
    """List the snapshots that are kept: collection and name."""
    async with place.opened() as ask:
        found: Snapshots = await ask(ListSnapshots())
    kept = {one: names for one, names in found.snapshots.items() if name in {None, one}}
    if json:
        say(msgspec.json.encode(kept).decode())
    elif not any(kept.values()):
        say_note("no snapshots; `paceline vectors snapshot NAME` makes one")
    else:
        for one, names in kept.items():
            for each in names:
                say(f"{one}  {each}")


@restore.default
async def restore_snapshot(
    name: Annotated[str, Parameter(help="The collection that the snapshot is of.")],
    snapshot: Annotated[str, Parameter(help="The snapshot.")],
    /,
    *,
    into: Annotated[
        str | None, Parameter(help="Name of the collection that is made; by default the same.")
    ] = None,
    json: Json = False,
    place: Place = NO_PLACE,
) -> None:
    """Make a collection of a snapshot; there must be none of its name."""
    async with place.opened() as ask:
        say_card(await ask(Restore(collection=into or name, source=name, name=snapshot)), json=json)

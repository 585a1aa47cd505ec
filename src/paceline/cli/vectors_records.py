"""`paceline vectors fetch`, `ids`, `update` and `delete`: records by name."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from paceline.base.errors import ConfigError
from paceline.base.vectors_records import Delete, Deleted, Fetch, Fetched, Listed, ListIds, Update
from paceline.cli.console import say, say_note
from paceline.cli.vectors_collections import Json, Name, Yes, confirm
from paceline.cli.vectors_place import NO_PLACE, Place

PAGE = 1000
"""Ids of one request."""

Namespace = Annotated[str, Parameter(help="Part of the collection.")]

fetch = App(
    name="fetch",
    help_epilogue="Examples:\n\n"
    "    paceline vectors fetch papers 17 18\n"
    "    paceline vectors fetch papers 17 --no-values",
)
ids = App(name="ids", help_epilogue="Example:\n\n    paceline vectors ids papers --prefix 2001/ --limit 0")
update = App(
    name="update",
    help_epilogue="Examples:\n\n"
    '    paceline vectors update papers 17 --metadata \'{"year": 2001, "draft": null}\'\n'
    "    paceline vectors update points a --vector '[0.1, -0.4, 0.7]'",
)
delete = App(
    name="delete",
    help_epilogue="Examples:\n\n"
    "    paceline vectors delete papers 17 18\n"
    '    paceline vectors delete papers --filter \'{"year": {"$lt": 1990}}\'\n'
    "    paceline vectors delete papers --all --namespace drafts --yes",
)


@fetch.default
async def fetch_records(
    name: Name,
    /,
    *wanted: Annotated[str, Parameter(help="Ids.")],
    namespace: Namespace = "",
    values: Annotated[bool, Parameter(help="With their vectors.")] = True,
    place: Place = NO_PLACE,
) -> int:
    """Print records as JSON lines, as `load` takes them; exit status 1 if one is not there."""
    if not wanted:
        raise ConfigError("no ids; `paceline vectors ids NAME` prints them")
    asked = Fetch(collection=name, ids=[*wanted], namespace=namespace, include_values=values)
    async with place.opened() as ask:
        found: Fetched = await ask(asked)
    missing = [one for one in wanted if one not in found.vectors]
    for one in wanted:
        if one not in missing:
            say(msgspec.json.encode(found.vectors[one]).decode())
    if missing:
        say_note(f"not there: {', '.join(missing)}")
    return 1 if missing else 0


@ids.default
async def list_ids(
    name: Name,
    /,
    *,
    prefix: Annotated[str, Parameter(help="Only ids that begin so.")] = "",
    limit: Annotated[int, Parameter(help="How many; 0 prints all.")] = 100,
    namespace: Namespace = "",
    place: Place = NO_PLACE,
) -> None:
    """Print ids in rising order, one a line."""
    if limit < 0:
        raise ConfigError(f"--limit {limit}: expected 0 or more")
    left, token = limit, None
    async with place.opened() as ask:
        while True:
            asked = ListIds(
                collection=name,
                prefix=prefix,
                namespace=namespace,
                limit=min(left, PAGE) if limit else PAGE,
                pagination_token=token,
            )
            page: Listed = await ask(asked)
            for one in page.vectors:
                say(one.id)
            left -= len(page.vectors)
            if page.pagination is None:
                return
            if limit and left <= 0:
                say_note(f"these are the first {limit:,}; --limit 0 prints all")
                return
            token = page.pagination.next


@update.default
async def update_record(  # noqa: PLR0913 - the options of the command
    name: Name,
    id: Annotated[str, Parameter(help="The record.")],  # noqa: A002
    /,
    *,
    metadata: Annotated[
        str | None, Parameter(help="Fields to set, as a JSON object; null removes one.")
    ] = None,
    vector: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="The new vector: JSON, a file, or -.")
    ] = None,
    namespace: Namespace = "",
    place: Place = NO_PLACE,
) -> None:
    """Change a record; what is not named stays."""
    if metadata is None and vector is None:
        raise ConfigError("nothing to change; give --metadata, --vector or both")
    from paceline.cli.vectors_input import condition, vectors_of  # noqa: PLC0415 - numpy

    rows: list[Any] = [None] if vector is None else [*vectors_of(vector)]
    if len(rows) != 1:
        raise ConfigError(f"--vector {vector}: {len(rows)} vectors; one record has one")
    asked = Update(
        collection=name,
        id=id,
        values=rows[0],
        set_metadata=condition(metadata, "--metadata"),
        namespace=namespace,
    )
    async with place.opened() as ask:
        await ask(asked)
    say_note(f"updated {id}")


@delete.default
async def delete_records(  # noqa: PLR0913 - the options of the command
    name: Name,
    /,
    *ids: Annotated[str, Parameter(help="Ids.")],
    filter: Annotated[str | None, Parameter(help="Conditions on metadata, as JSON.")] = None,  # noqa: A002
    all: Annotated[bool, Parameter(negative="", help="All records of the namespace.")] = False,  # noqa: A002
    namespace: Namespace = "",
    yes: Yes = False,
    json: Json = False,
    place: Place = NO_PLACE,
) -> None:
    """Delete records by id, by filter, or all of a namespace (asks before that, unless --yes)."""
    if bool(ids) + (filter is not None) + all != 1:
        raise ConfigError("say what to delete: ids, --filter or --all")
    from paceline.cli.vectors_input import condition  # noqa: PLC0415 - numpy

    asked = Delete(
        collection=name,
        ids=[*ids] or None,
        filter=condition(filter),
        delete_all=all,
        namespace=namespace,
    )
    if all and not yes:
        confirm(f"delete all of {name}, namespace {namespace or '(default)'}?")
    async with place.opened() as ask:
        done: Deleted = await ask(asked)
    if json:
        say(msgspec.json.encode(done).decode())
    else:
        say_note(f"deleted {done.deleted_count:,} record{'' if done.deleted_count == 1 else 's'}")

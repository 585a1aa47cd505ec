"""`paceline vectors query`: the records nearest to a vector, a text or a record."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter

from paceline.base.errors import ConfigError
from paceline.base.vectors_records import Matched, Queried, Query, Search
from paceline.cli.console import say, say_note
from paceline.cli.vectors_collections import Json, Name
from paceline.cli.vectors_place import NO_PLACE, Place

query = App(
    name="query",
    help_epilogue="Examples:\n\n"
    '    paceline vectors query papers --text "sleep of fish"\n'
    '    paceline vectors query papers --text "sleep of fish" --mode hybrid --k 5\n'
    '    paceline vectors query papers --id 17 --filter \'{"year": {"$gte": 2000}}\'\n'
    "    paceline vectors query papers --vector queries.npy --json > found.jsonl\n"
    '    paceline vectors query points --vector "[0.1, -0.4, 0.7]"\n\n'
    "Filters: $eq $ne $in $nin $gt $gte $lt $lte $exists, joined by $and $or $not.",
)


@query.default
async def query_collection(  # noqa: PLR0913 - the options of the command
    name: Name,
    /,
    *,
    vector: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="JSON as '[0.1, 0.2]', a file (.npy, or JSON), or - for standard input; rows are queries.",
        ),
    ] = None,
    text: Annotated[str | None, Parameter(help="Search for a text; it is embedded by the model.")] = None,
    id: Annotated[str | None, Parameter(help="Search by the vector of this record.")] = None,  # noqa: A002
    mode: Annotated[
        Literal["vector", "words", "hybrid"],
        Parameter(help="With --text: by meaning, by words (BM25), or by both."),
    ] = "vector",
    k: Annotated[int, Parameter(name=["--k", "-k"], help="Results.")] = 10,
    filter: Annotated[str | None, Parameter(help="Conditions on metadata, as JSON.")] = None,  # noqa: A002
    namespace: Annotated[str, Parameter(help="Part of the collection.")] = "",
    ef: Annotated[int | None, Parameter(help="Vectors looked at, instead of the setting.")] = None,
    candidates: Annotated[int | None, Parameter(help="Best of them scored again.")] = None,
    exact: Annotated[bool, Parameter(negative="", help="Score every record.")] = False,
    values: Annotated[bool, Parameter(negative="", help="Print the vectors too (with --json).")] = False,
    json: Json = False,
    place: Place = NO_PLACE,
) -> None:
    """Find the nearest records, best first; with --json one line for each query."""
    if (vector is not None) + (text is not None) + (id is not None) != 1:
        raise ConfigError("say what to look for: one of --vector, --text, --id")
    if mode != "vector" and text is None:
        raise ConfigError(f"--mode {mode} looks for words; give --text")
    from paceline.cli.vectors_input import condition, vectors_of  # noqa: PLC0415 - numpy

    common: dict[str, Any] = {
        "collection": name,
        "top_k": k,
        "filter": condition(filter),
        "namespace": namespace,
        "include_values": values,
        "include_metadata": True,
        "ef": ef,
        "candidates": candidates,
        "exact": exact,
    }
    if text is not None:
        asked: list[Any] = [Search(text=text, mode=mode, **common)]
    elif id is not None:
        asked = [Query(id=id, **common)]
    else:
        asked = [Query(vector=packed, **common) for packed in vectors_of(vector or "")]
    async with place.opened() as ask:
        for number, one in enumerate(asked):
            found: Queried = await ask(one)
            if json:
                say(msgspec.json.encode(found).decode())
            else:
                if number:
                    say("")
                _say_matches(found.matches)
            for shard, reason in found.missing.items():
                say_note(f"warning: shard {shard} was not searched: {reason}")


def _say_matches(matches: list[Matched]) -> None:
    if not matches:
        say_note("nothing found")
        return
    widest = max(len(match.id) for match in matches)
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for match in matches:
        line = f"{match.score:8.4f}  {match.id:<{widest}}  {_metadata(match.metadata)}".rstrip()
        say(line if not room or len(line) <= room else f"{line[: room - 1]}…")


def _metadata(metadata: dict[str, Any] | None) -> str:
    """The text, then the other fields."""
    fields = dict(metadata or {})
    text = fields.pop("text", "")
    rest = msgspec.json.encode(fields).decode() if fields else ""
    return " ".join(f"{text}  {rest}".split())

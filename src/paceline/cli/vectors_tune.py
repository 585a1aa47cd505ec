"""`paceline vectors tune`: the quickest setting of a collection that holds a recall, proven on queries."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from paceline.base.vectors_collections import Tune, Tuned
from paceline.cli.console import say, say_note
from paceline.cli.vectors_collections import Json, Name
from paceline.cli.vectors_place import NO_PLACE, Place

tune = App(
    name="tune",
    help_epilogue="Examples:\n\n"
    "    paceline vectors tune papers --recall 0.99            on the latest queries\n"
    "    paceline vectors tune papers --recall 0.99 --queries asked.npy --k 20\n"
    "    paceline vectors tune papers --recall 0.95 --no-apply  measures only\n\n"
    "Exit status: 0 a setting holds the recall, 1 none is sure to.",
)


@tune.default
async def tune_collection(  # noqa: PLR0913 - the options of the command
    name: Name,
    /,
    *,
    recall: Annotated[float, Parameter(help="Share of the true neighbours to be found, such as 0.99.")],
    queries: Annotated[
        str | None,
        Parameter(
            help="Vectors to measure on (.npy, or JSON), 100 or more, best 1,000; without: those asked last."
        ),
    ] = None,
    k: Annotated[int, Parameter(name=["--k", "-k"], help="Neighbours of a query.")] = 10,
    confidence: Annotated[float, Parameter(help="Certainty with which the recall is held.")] = 0.95,
    namespace: Annotated[str, Parameter(help="Part of the collection.")] = "",
    apply: Annotated[
        bool, Parameter(help="Use the setting from now on, and check it as records change.")
    ] = True,
    json: Json = False,
    place: Place = NO_PLACE,
) -> int:
    """Measure recall and latency of settings, and keep to the quickest that is sure to hold the recall."""
    rows: list[Any] | None = None
    if queries is not None:
        from paceline.cli.vectors_input import vectors_of  # noqa: PLC0415 - numpy

        rows = [*vectors_of(queries, "--queries")]
    asked = Tune(
        collection=name,
        recall=recall,
        k=k,
        confidence=confidence,
        namespace=namespace,
        vectors=rows,
        apply=apply,
    )
    async with place.opened() as ask:
        found: Tuned = await ask(asked)
    if json:
        say(msgspec.json.encode(found).decode())
    else:
        say(_table(found))
    if found.chosen is not None:
        kept = "searches use it from now on" if found.applied else "not applied"
        say_note(f"{name}: ef {found.chosen.ef}, {found.chosen.candidates} re-scored; {kept}")
    return 0 if found.chosen is not None else 1


def _table(found: Tuned) -> str:
    """As the library prints it."""
    from paceline.vectors.recall import RecallTable  # noqa: PLC0415 - numpy

    return msgspec.convert(found, RecallTable, from_attributes=True).text()

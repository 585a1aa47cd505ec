"""The recall that is promised of served collections: tuned when it is asked for, checked as records change."""

from __future__ import annotations

import threading
from typing import Final

import msgspec

from paceline.base.errors import InvalidRequest
from paceline.base.vectors_collections import Tune, Tuned, TunedLevel
from paceline.vectors.held import Held
from paceline.vectors.kept_recall import KeptRecall
from paceline.vectors.pauses import Pauses
from paceline.vectors.recall import FEWEST, Level, tune
from paceline.vectors.recall_watch import Promise
from paceline.vectors.wire import rows_of

_MOST_QUERIES: Final = 1000


def tuned(held: Held, asked: Tune, ending: threading.Event) -> Tuned:
    """The settings measured, and the quickest that holds the recall put into force if `apply` says so.

    InvalidRequest when there are too few queries to tell.
    """
    if asked.vectors is not None:
        queries = rows_of(asked.vectors, held.collection.schema, "vectors")
        if len(queries) < FEWEST:
            raise InvalidRequest(
                f"{len(queries)} queries tell too little about recall {asked.recall}; send {FEWEST} or more, best "
                f"{_MOST_QUERIES:,}",
                param="vectors",
            )
    else:
        queries = held.recent.sample(_MOST_QUERIES, namespace=asked.namespace)
        if len(queries) < FEWEST:
            raise InvalidRequest(
                f"{len(queries)} queries were asked in namespace {asked.namespace!r} since the collection was opened, and "
                f"{FEWEST} are needed to tell recall {asked.recall}; tune later, or send queries as `vectors`",
                param="vectors",
            )
    if not 0.5 <= asked.confidence < 1:
        raise InvalidRequest(
            f"confidence is {asked.confidence}; ask for 0.5 or more and less than 1", param="confidence"
        )
    table = tune(
        held.collection,
        queries,
        asked.recall,
        k=asked.k,
        confidence=asked.confidence,
        namespace=asked.namespace,
        rest=Pauses(ending, 0.0).rest,
    )
    chosen = table.chosen
    applies = False
    if asked.apply and chosen is not None:
        applies = True
        promise = Promise(asked.recall, asked.k, asked.confidence, asked.namespace)
        held.recall.keep(KeptRecall(promise, chosen.ef, chosen.candidates))
    return Tuned(
        k=table.k,
        target=table.target,
        confidence=table.confidence,
        queries=table.queries,
        levels=[_level(one) for one in table.levels],
        chosen=None if chosen is None else _level(chosen),
        applied=applies,
    )


def _level(level: Level) -> TunedLevel:
    return TunedLevel(**msgspec.structs.asdict(level))

"""A quality gate for collections of vectors: the recall of the load's own queries, and whether knobs reach them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec.structs import replace

from paceline.app.tuning.bench import TunedServer
from paceline.base.errors import ConfigError, PacelineError, TrialFailed
from paceline.base.vectors_collections import CollectionCard, Collections
from paceline.base.vectors_records import Queried
from paceline.measure.exchange import exchange
from paceline.measure.load.bodies import bodies
from paceline.measure.load.request import serialise
from paceline.measure.load.trace import load_trace
from paceline.measure.plan import Plan
from paceline.tune.knob import Knob
from paceline.tune.setting import Setting

SAMPLES: Final = 500
TRUTH_CANDIDATES: Final = 256
"""Scored again on the finer copy for the truth, at least, as when a recall is promised (`vectors/recall.py`)."""
TIMEOUT_S: Final = 60.0
REACHED_BY: Final = {"vectors.search.ef", "vectors.search.candidates"}
"""Knobs that a recall which is promised of a collection takes the place of."""


class RecallGate:
    """Scores each query of the load by the share of its true neighbours that the server finds with a setting.

    The truth is the same query answered by a scan of every record, on the server itself, asked once.
    """

    metric = "recall"

    def __init__(self, plan: Plan, server: TunedServer) -> None:
        self._plan = plan
        self._server = server
        self._queries: list[dict[str, Any]] = []
        self._truth: list[set[str]] = []

    def scores(self, setting: Setting) -> Sequence[float]:
        """See `QualityGate.scores`."""
        self._server.try_out(setting)
        if not self._truth:
            self._queries = self._sampled()
            self._truth = [self._found(_exact(query)) for query in self._queries]
        return [
            len(near & self._found(query)) / len(near) if near else 1.0
            for query, near in zip(self._queries, self._truth, strict=True)
        ]

    def _sampled(self) -> list[dict[str, Any]]:
        """Different queries of the load, drawn by chance: the bound of their mean needs a random order."""
        distinct = {body for body in bodies(self._plan, load_trace(self._plan)) if body is not None}
        queries = [msgspec.json.decode(body) for body in sorted(distinct)]
        Random(self._plan.seed).shuffle(queries)  # noqa: S311 - repeatable, no secret
        return queries[:SAMPLES]

    def _found(self, query: dict[str, Any]) -> set[str]:
        request = serialise(replace(self._plan, keep_alive=False), msgspec.json.encode(query))
        try:
            answer = exchange(self._plan.target, request, TIMEOUT_S)
        except PacelineError as error:
            raise TrialFailed(error.message) from None
        if answer.status != 200:
            raise TrialFailed(f"a query to score was answered {answer.status}: {answer.excerpt()}")
        return {match.id for match in msgspec.json.decode(answer.body, type=Queried).matches}


def _exact(query: Mapping[str, Any]) -> dict[str, Any]:
    wanted = max(TRUTH_CANDIDATES, int(query.get("topK", 0)))
    return {name: value for name, value in query.items() if name != "ef"} | {
        "exact": True,
        "candidates": wanted,
    }


def check_reached(plan: Plan, knobs: Sequence[Knob], default: str) -> None:
    """Raises ConfigError when knobs would be turned that the queries of the load do not see.

    A collection whose recall is promised (`paceline vectors tune`) is searched as that promise found best. `default`
    is the collection that is meant when several exist and none is named. Raises Unreachable.
    """
    turned = sorted(REACHED_BY & {knob.name for knob in knobs})
    card = _collection(plan, default)
    if not turned or card is None or not card.promise:
        return
    raise ConfigError(
        f"collection {card.name!r} is searched with ef {card.ef} and {card.candidates} re-scored, which hold its promise "
        f"({card.promise}); {', '.join(turned)} would change nothing: tune it with `paceline vectors tune {card.name}`, "
        "or turn other knobs with --knob",
        param="knob",
    )


def _collection(plan: Plan, default: str) -> CollectionCard | None:
    """That of the load's first query; None when the server does not tell."""
    parts = urlsplit(plan.target.url)
    root = replace(plan.target, url=f"{parts.scheme}://{parts.netloc}/v1/collections", method="GET")
    asking = replace(plan, target=root, payload=replace(plan.payload, task="http"), keep_alive=False)
    answer = exchange(root, serialise(asking, None), plan.timeout_s)
    if answer.status != 200:
        return None
    cards = msgspec.json.decode(answer.body, type=Collections).collections
    first = next((body for body in bodies(plan, load_trace(plan)) if body is not None), b"{}")
    steps = parts.path.strip("/").split("/")
    named = unquote(steps[2]) if steps[:2] == ["v1", "collections"] and len(steps) > 3 else ""
    named = named or str(msgspec.json.decode(first).get("collection") or "")
    if not named:
        named = cards[0].name if len(cards) == 1 else default
    return next((card for card in cards if card.name == named), None)

"""A quality gate for embeddings: whether the same texts stay each other's nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from paceline.app.tuning.bench import TunedServer
from paceline.base.errors import PacelineError, TrialFailed
from paceline.measure.exchange import exchange
from paceline.measure.load.bodies import bodies
from paceline.measure.load.request import serialise
from paceline.measure.load.trace import load_trace
from paceline.measure.plan import Plan
from paceline.tune.setting import Setting

SAMPLES: Final = 256
NEIGHBOURS: Final = 10
AT_A_TIME: Final = 32
TIMEOUT_S: Final = 60.0


class NeighbourGate:
    """Scores each of the load's texts by how many of its ten nearest neighbours are those the baseline gives it.

    That is what users of embeddings see of a change of precision, pooling or window: what a search finds. The
    baseline scores 1 everywhere, so a loss of 0.01 is one neighbour in a hundred that is another.
    """

    metric = f"share of the {NEIGHBOURS} nearest texts that are the baseline's"

    def __init__(self, plan: Plan, server: TunedServer) -> None:
        self._plan = plan
        self._server = server
        self._reference: npt.NDArray[np.intp] | None = None

    def scores(self, setting: Setting) -> Sequence[float]:
        """See `QualityGate.scores`."""
        if self._reference is None:
            self._reference = self._nearest({})
        found = self._nearest(setting) if setting else self._reference
        overlap = [
            len({*one.tolist()} & {*other.tolist()})
            for one, other in zip(found, self._reference, strict=True)
        ]
        return [shared / NEIGHBOURS for shared in overlap]

    def _nearest(self, setting: Setting) -> npt.NDArray[np.intp]:
        """Places of the nearest texts of each, shape (texts, NEIGHBOURS)."""
        self._server.try_out(setting)
        vectors = self._vectors()
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-12
        alike = vectors @ vectors.T
        np.fill_diagonal(alike, -2.0)
        return np.argsort(-alike, axis=1, kind="stable")[:, :NEIGHBOURS]

    def _vectors(self) -> npt.NDArray[np.float32]:
        texts = self._texts()
        if not texts:
            raise TrialFailed("the load has no texts that could be scored, only token ids")
        rows: list[list[float]] = []
        for start in range(0, len(texts), AT_A_TIME):
            body = msgspec.json.encode(
                {"model": self._plan.payload.model, "input": texts[start : start + AT_A_TIME]}
            )
            request = serialise(replace(self._plan, keep_alive=False), body)
            try:
                answer = exchange(self._plan.target, request, TIMEOUT_S)
            except PacelineError as error:
                raise TrialFailed(error.message) from None
            if answer.status != 200:
                raise TrialFailed(
                    f"{len(texts)} texts to score were answered {answer.status}: {answer.excerpt()}"
                )
            rows += [one["embedding"] for one in msgspec.json.decode(answer.body)["data"]]
        return np.array(rows, dtype=np.float32)

    def _texts(self) -> list[str]:
        """Different texts of the load, the first ones."""
        found: dict[str, None] = {}
        for body in bodies(self._plan, load_trace(self._plan)):
            given: Any = None if body is None else msgspec.json.decode(body).get("input")
            for text in given if isinstance(given, list) else [given]:
                if isinstance(text, str):
                    found.setdefault(text)
            if len(found) >= SAMPLES:
                break
        return list(found)[:SAMPLES]

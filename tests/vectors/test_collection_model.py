"""A collection does what a dictionary does, whatever is written, sealed, joined or reopened in between."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from collections_of import DIMENSIONS, SMALL, vector
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from paceline.vectors.collection import Collection
from paceline.vectors.metric import entered, scores
from paceline.vectors.policy import Schema
from paceline.vectors.record import Record

IDS = st.integers(0, 60).map(lambda i: f"v{i}")
SPACES = st.sampled_from(["", "other"])
SEEDS = st.integers(0, 10_000)
METADATA = st.none() | st.fixed_dictionaries(
    {"n": st.integers(0, 5)}, optional={"tag": st.sampled_from("ab")}
)
CLOSE = 0.02
"""Scores are of rounded vectors."""


class CollectionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.twin: dict[tuple[str, str], tuple[np.ndarray, dict[str, Any]]] = {}

    @initialize(
        metric=st.sampled_from(["cosine", "dot", "l2"]), precision=st.sampled_from(["int8", "fp16", "fp32"])
    )
    def create(self, metric: Any, precision: Any) -> None:
        rescore = "fp32" if precision == "int8" else "none"
        schema = Schema(dimensions=DIMENSIONS, metric=metric, precision=precision, rescore=rescore)
        self.collection = Collection.create(self.folder / "c", schema, policy=SMALL)

    @rule(data=st.dictionaries(IDS, st.tuples(SEEDS, METADATA), min_size=1, max_size=30), namespace=SPACES)
    def upsert(self, data: dict[str, Any], namespace: str) -> None:
        self.collection.upsert(
            [Record(name, vector(seed), metadata, namespace) for name, (seed, metadata) in data.items()]
        )
        for name, (seed, metadata) in data.items():
            self.twin[namespace, name] = (vector(seed), metadata or {})

    @rule(ids=st.lists(IDS, max_size=10), namespace=SPACES)
    def delete(self, ids: list[str], namespace: str) -> None:
        expected = len({(namespace, name) for name in ids} & self.twin.keys())

        assert self.collection.delete(ids, namespace=namespace) == expected

        for name in ids:
            self.twin.pop((namespace, name), None)

    @rule(n=st.integers(0, 5), namespace=SPACES)
    def delete_by_filter(self, n: int, namespace: str) -> None:
        if not any("n" in metadata for _, metadata in self.twin.values()):
            return
        going = [key for key, (_, kept) in self.twin.items() if key[0] == namespace and kept.get("n") == n]

        assert self.collection.delete(filter={"n": n}, namespace=namespace) == len(going)

        for key in going:
            del self.twin[key]

    @rule(namespace=SPACES)
    def empty_namespace(self, namespace: str) -> None:
        going = [key for key in self.twin if key[0] == namespace]

        assert self.collection.delete(everything=True, namespace=namespace) == len(going)

        for key in going:
            del self.twin[key]

    @rule(name=IDS, namespace=SPACES, fields=st.dictionaries(st.sampled_from(["n", "m"]), st.integers(0, 5)))
    def update(self, name: str, namespace: str, fields: dict[str, int]) -> None:
        if (namespace, name) in self.twin:
            self.collection.update(name, metadata=fields, namespace=namespace)
            self.twin[namespace, name][1].update(fields)
            kept, metadata = self.twin[namespace, name]
            self.twin[namespace, name] = (kept, {**metadata, **fields})

    @rule()
    def settle(self) -> None:
        self.collection.settle()

    @rule()
    def compact(self) -> None:
        self.collection.compact()

    @rule()
    def reopen(self) -> None:
        self.collection.close()
        self.collection = Collection.open(self.folder / "c", policy=SMALL)

    @rule(seed=SEEDS, namespace=SPACES, k=st.integers(1, 10), n=st.none() | st.integers(0, 5))
    def query(self, seed: int, namespace: str, k: int, n: int | None) -> None:
        if n is not None and not any("n" in metadata for _, metadata in self.twin.values()):
            return
        wanted = None if n is None else {"n": {"$lte": n}}
        matches = self.collection.query(vector(seed), k, filter=wanted, namespace=namespace, ef=200)[0]
        kept = {
            name: stored
            for (space, name), (stored, metadata) in self.twin.items()
            if space == namespace and (n is None or metadata.get("n", 9) <= n)
        }
        assert len(matches) == min(k, len(kept))
        if kept:
            metric = self.collection.schema.metric
            rows = entered(np.stack(list(kept.values())), metric)
            best = dict(
                zip(kept, scores(entered(vector(seed), metric), rows, metric)[0].tolist(), strict=True)
            )
            for match, expected in zip(matches, sorted(best.values(), reverse=True), strict=False):
                assert abs(match.score - expected) < CLOSE * max(1.0, abs(expected))
                assert abs(match.score - best[match.id]) < CLOSE * max(1.0, abs(expected))

    @invariant()
    def holds_what_the_twin_holds(self) -> None:
        assert self.collection.stats().records == len(self.twin)
        for space in {space for space, _ in self.twin}:
            ids = [name for other, name in self.twin if other == space]
            records = self.collection.fetch(ids, namespace=space)
            assert set(records) == set(ids)
            for name, record in records.items():
                stored, metadata = self.twin[space, name]
                np.testing.assert_allclose(record.vector, stored, rtol=2e-3, atol=2e-3)
                assert (record.metadata or {}) == metadata

    def teardown(self) -> None:
        self.collection.close()
        shutil.rmtree(self.folder)


TestCollection = CollectionMachine.TestCase
TestCollection.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)

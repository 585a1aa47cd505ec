"""Words and vectors of a collection are those of a dictionary, whatever is written, reopened or re-encoded in between."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from collections_of import DIMENSIONS, SMALL, vector
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from paceline.vectors.collection import Collection
from paceline.vectors.hybrid import depth_of, hybrid_query
from paceline.vectors.policy import Schema
from paceline.vectors.record import Record

WORDS = ("ant", "bee", "cow", "dog")
IDS = st.integers(0, 40).map(lambda i: f"v{i}")
SPACES = st.sampled_from(["", "other"])
TEXTS = st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)
SEEDS = st.integers(0, 1000)


def copied(source: Path, target: Path) -> None:
    """The texts are committed, joined and made anew while they are copied: what is gone by then a killed process has not either."""
    with suppress(FileNotFoundError):
        if source.is_dir():
            parts = list(source.iterdir())
            target.mkdir()
            for part in parts:
                copied(part, target / part.name)
        elif source.name != "lock":
            shutil.copy2(source, target)


class WordsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.twin: dict[tuple[str, str], tuple[int, str, int]] = {}
        self.kills = 0

    @initialize()
    def create(self) -> None:
        schema = Schema(dimensions=DIMENSIONS, text_field="text")
        self.collection = Collection.create(self.folder / "c", schema, policy=SMALL)

    @rule(
        data=st.dictionaries(IDS, st.tuples(SEEDS, TEXTS, st.integers(0, 3)), min_size=1, max_size=30),
        namespace=SPACES,
    )
    def upsert(self, data: dict[str, tuple[int, str, int]], namespace: str) -> None:
        self.collection.upsert(
            [
                Record(name, vector(seed), {"text": text, "n": n}, namespace)
                for name, (seed, text, n) in data.items()
            ]
        )
        self.twin |= {(namespace, name): value for name, value in data.items()}

    @rule(name=IDS, namespace=SPACES, text=TEXTS)
    def update(self, name: str, namespace: str, text: str) -> None:
        if (namespace, name) in self.twin:
            self.collection.update(name, metadata={"text": text}, namespace=namespace)
            seed, _, n = self.twin[namespace, name]
            self.twin[namespace, name] = (seed, text, n)

    @rule(ids=st.lists(IDS, max_size=10), namespace=SPACES)
    def delete(self, ids: list[str], namespace: str) -> None:
        self.collection.delete(ids, namespace=namespace)
        for name in ids:
            self.twin.pop((namespace, name), None)

    @rule(n=st.integers(0, 3), namespace=SPACES)
    def delete_by_filter(self, n: int, namespace: str) -> None:
        if self.twin:
            self.collection.delete(filter={"n": n}, namespace=namespace)
            going = [key for key, value in self.twin.items() if key[0] == namespace and value[2] == n]
            for key in going:
                del self.twin[key]

    @rule()
    def compact(self) -> None:
        self.collection.compact()

    @rule(precision=st.sampled_from(["fp32", "fp16", "bf16", "int8", "binary"]))
    def reencode(self, precision: Any) -> None:
        self.collection.reencode(precision)

    @rule(is_killed=st.booleans())
    def reopen(self, is_killed: bool) -> None:
        """Also from what is on the disk at this moment, as after a kill."""
        folder = self.folder / "c"
        if is_killed:
            self.collection.settle()  # a copy is no moment unless nothing is written
            self.kills += 1
            copy = self.folder / f"killed{self.kills}"
            copied(folder, copy)
            self.collection.close()
            shutil.rmtree(folder)
            copy.rename(folder)
        self.collection.close()
        self.collection = Collection.open(folder, policy=SMALL)

    @rule(
        asked=st.lists(st.sampled_from(WORDS), min_size=1, max_size=2),
        namespace=SPACES,
        n=st.none() | st.integers(0, 3),
        seed=SEEDS,
        k=st.integers(1, 50),
    )
    def search(self, asked: list[str], namespace: str, n: int | None, seed: int, k: int) -> None:
        if not self.twin:
            return
        wanted = None if n is None else {"n": {"$lte": n}}
        here = {
            name: text
            for (space, name), (_, text, by) in self.twin.items()
            if space == namespace and (n is None or by <= n)
        }
        having = {name for name, text in here.items() if set(asked) & set(text.split())}
        options: dict[str, Any] = {"filter": wanted, "namespace": namespace, "include_metadata": True}

        words = self.collection.by_words(" ".join(asked), depth_of(k), **options)
        near = self.collection.query(vector(seed), depth_of(k), ef=200, **options)[0]
        both = hybrid_query(self.collection, " ".join(asked), vector(seed), k, ef=200, **options)

        assert {match.id for match in words} == having
        assert {match.id for match in near} == set(here)
        assert all((match.metadata or {})["text"] == here[match.id] for match in both)
        assert [match.score for match in words] == sorted((match.score for match in words), reverse=True)
        assert {match.id for match in both} <= set(here)
        assert len(both) == min(k, len(here))

    def teardown(self) -> None:
        self.collection.close()
        shutil.rmtree(self.folder)


TestWords = WordsMachine.TestCase
TestWords.settings = settings(
    max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)

"""Who can take part: by name, the library it needs, and how it is made."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Final, cast

import msgspec

from paceline.base.errors import ConfigError
from paceline.vectors.bench.contestant import Contestant, Setup


class Entry(msgspec.Struct, frozen=True):
    """One contestant."""

    name: str
    needs: tuple[str, ...]
    """Modules that must be there."""
    package: str
    """What to install for them."""
    where: str
    """Its file in `contestants`, and its class."""
    kind: str
    family: str
    """ours, library or product."""

    @property
    def missing(self) -> str:
        """How to get what it needs; empty if it is there."""
        return "" if all(find_spec(module) for module in self.needs) else f"pip install {self.package}"

    @property
    def version(self) -> str:
        """Of the packages it is measured with."""
        return ", ".join(f"{name} {metadata.version(name)}" for name in self.package.replace("'", "").split())

    def made(self, setup: Setup) -> Contestant:
        """The contestant, its library imported."""
        module, name = self.where.split(":")
        found = getattr(import_module(f"paceline.vectors.bench.contestants.{module}"), name)
        return cast("Contestant", found(setup, self.kind))


def _entries(family: str, needs: str, package: str, where: str, kinds: dict[str, str]) -> list[Entry]:
    return [Entry(name, tuple(needs.split()), package, where, kind, family) for name, kind in kinds.items()]


_OURS: Final = {"paceline": "int8"} | {
    f"paceline-{kind}": kind for kind in ("fp32", "fp16", "bf16", "binary")
}
ROSTER: Final = {
    entry.name: entry
    for entry in (
        *_entries("ours", "numba", "numba", "ours:Ours", _OURS),
        *_entries("library", "hnswlib", "hnswlib", "hnswlib_index:Hnswlib", {"hnswlib": ""}),
        *_entries(
            "library",
            "faiss",
            "faiss-cpu",
            "faiss_index:Faiss",
            {"faiss-flat": "flat", "faiss-sq8": "sq8", "faiss-bf16": "bf16"},
        ),
        *_entries(
            "library",
            "usearch",
            "usearch",
            "usearch_index:Usearch",
            {"usearch-f32": "f32", "usearch-bf16": "bf16", "usearch-i8": "i8"},
        ),
        *_entries(
            "product",
            "qdrant_edge",
            "qdrant-edge-py",
            "qdrant:Qdrant",
            {"qdrant-f32": "f32", "qdrant-int8": "int8"},
        ),
        *_entries(
            "product", "lancedb", "lancedb", "lance:Lance", {"lancedb-flat": "flat", "lancedb-sq": "sq"}
        ),
        *_entries("product", "chromadb", "chromadb", "chroma:Chroma", {"chroma": ""}),
        *_entries(
            "product",
            "milvus_lite faiss",
            "milvus-lite faiss-cpu",
            "milvus:Milvus",
            {"milvus-flat": "flat", "milvus-sq": "sq"},
        ),
    )
}
"""In the order in which they are measured and shown."""
USUAL: Final = tuple(name for name in ROSTER if not name.startswith("paceline-"))
"""Those that take part unless others are named; the precisions of ours have a table of their own."""


def chosen(names: Sequence[str]) -> list[Entry]:
    """The entries of these names, in the order of the roster; `faiss` is all of faiss. ConfigError."""
    if not names:
        return [ROSTER[name] for name in USUAL]
    found = set()
    for wanted in names:
        matching = [name for name in ROSTER if name == wanted]
        matching = matching or [name for name in ROSTER if name.split("-")[0] == wanted]
        if not matching:
            raise ConfigError(f"no contestant {wanted!r}; there are {', '.join(ROSTER)}", param="only")
        found.update(matching)
    return [entry for name, entry in ROSTER.items() if name in found]

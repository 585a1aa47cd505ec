"""A corpus that is searched in milliseconds, and a report of all kinds of results."""

from __future__ import annotations

from clustered import clustered

from paceline.vectors.bench.corpus import Corpus
from paceline.vectors.bench.report import (
    SCHEMA,
    Absent,
    BenchReport,
    Build,
    Changes,
    Held,
    Host,
    Point,
    Precision,
    Result,
    Settings,
    Size,
)

HOST = Host("bench-04", "EPYC", 2, 8_000_000_000, "Linux 6.8", "3.11.9")
SETTINGS = Settings([0.97, 0.99], 2, 16, 200, 1)


def small_corpus(count: int = 1_200, queries: int = 40) -> Corpus:
    """Vectors and queries of one mixture."""
    return Corpus.of(
        "mixture", clustered(count), clustered(queries, seed=2), queries_from="of the same", k=10, seed=3
    )


def result(name: str, family: str, qps: float, **fields: object) -> Result:
    """A contestant that was measured whole."""
    whole = {
        "build": Build(12.5, 2, 9_600.0),
        "size": Size("HNSW float32", "", 1_684.0, 1_800.0, 1_690.0),
        "curve": [Point(16, 0.92, 2 * qps, 0.02, 0.05), Point(64, 0.995, qps, 0.05, 0.09)],
        "held": [Held(0.99, 40, 0.9912, qps, 0.9 * qps, 1.1 * qps, 0.06, 0.11, 5)],
        "missed": [],
        "changes": Changes(100, 5_000.0, 9_000.0, 0.9905, 40),
    }
    return Result(name, family, f"{name} 1.0", **{**whole, **fields})


def small_report(**fields: object) -> BenchReport:
    """One of ours, a library that cannot change, a product that failed, and one that is absent."""
    whole = {
        "schema": SCHEMA,
        "made_at": "2026-01-02T03:04:05+00:00",
        "paceline": "0.1.0",
        "commit": "abcdef123456",
        "host": HOST,
        "corpus": small_corpus().shape,
        "settings": SETTINGS,
        "seconds": 75.0,
        "results": [
            result("paceline", "ours", 20_000.0),
            result(
                "faiss-sq8",
                "library",
                10_000.0,
                missed=[0.999],
                changes=Changes(0, None, None, None, None, "it cannot"),
            ),
            Result("chroma", "product", "chromadb 1.5", failed="RuntimeError: no room"),
        ],
        "absent": [Absent("milvus-flat", "pip install milvus-lite")],
        "precisions": [Precision("int8", "fp16", 384.0, 136.0, [Point(64, 0.99, 9_000.0, 0.1, 0.2)])],
    }
    return BenchReport(**{**whole, **fields})

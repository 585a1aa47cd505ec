"""The vectors that all contestants index, the queries, and the true neighbours by brute force; kept in a folder.

vectors.npy  (n, d) unit vectors; queries.npy (q, d); truth.npy (q, k) rows of the nearest; corpus.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

import msgspec
import numpy as np
import xxhash

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.bench.contestant import Ints
from paceline.vectors.bulk_files import read_records
from paceline.vectors.exact import nearest
from paceline.vectors.metric import Floats, checked, normalised

_NAME: Final = "corpus.json"
FEWEST: Final = 1_000
"""Vectors below which nothing would be learned: all are scanned in microseconds."""
_HELD_OUT: Final = 0.1
"""Largest share of the vectors that become queries where none are given."""


class CorpusShape(msgspec.Struct, frozen=True):
    """What the corpus is, for the report, and to tell it from another."""

    name: str
    vectors: int
    dimensions: int
    queries: int
    queries_from: str
    """Where they came from."""
    k: int
    seed: int
    digest: str
    """Of vectors, queries and k."""


class Corpus(msgspec.Struct, frozen=True, eq=False):
    """All of it; the arrays may be memory maps."""

    shape: CorpusShape
    vectors: Floats  # (n, d)
    queries: Floats  # (q, d)
    truth: Ints  # (q, k)

    @classmethod
    def of(  # noqa: PLR0913 - keywords
        cls,
        name: str,
        vectors: Floats,
        queries: Floats,
        *,
        queries_from: str,
        k: int,
        seed: int,
        kept: Path | None = None,
    ) -> Self:
        """Normalised, with the truth, which the folder `kept` may hold from an earlier run.

        InvalidRequest on too few vectors, or queries of another shape.
        """
        if len(vectors) < FEWEST:
            raise InvalidRequest(f"{name} has {len(vectors)} vectors; give {FEWEST:,} or more")
        if len(queries) == 0 or queries.shape[1] != vectors.shape[1]:
            raise InvalidRequest(
                f"queries have shape {queries.shape}, vectors {vectors.shape}; embed both with the same model"
            )
        stored, asked = normalised(checked(vectors)), normalised(checked(queries))
        digest = xxhash.xxh3_128(stored.data)
        digest.update(asked.data)
        digest.update(b"%d" % k)
        shape = CorpusShape(
            name=name,
            vectors=len(stored),
            dimensions=stored.shape[1],
            queries=len(asked),
            queries_from=queries_from,
            k=k,
            seed=seed,
            digest=digest.hexdigest(),
        )
        if kept is not None and (there := _shape_in(kept)) is not None and there.digest == shape.digest:
            return cls(shape, stored, asked, np.load(kept / "truth.npy"))
        return cls(shape, stored, asked, nearest(asked, stored, k, "dot")[0])

    def write(self, folder: Path) -> None:
        """Put it into `folder`. ConfigError if the folder holds indexes of another corpus."""
        folder.mkdir(parents=True, exist_ok=True)
        there = _shape_in(folder)
        if there is not None:
            if there.digest == self.shape.digest:
                return
            raise ConfigError(
                f"{folder} holds indexes of {there.vectors:,} vectors of {there.name}, not of these; "
                "name another folder, or delete it",
                param="folder",
            )
        for name, array in (("vectors", self.vectors), ("queries", self.queries), ("truth", self.truth)):
            np.save(folder / f"{name}.npy", array)
        (folder / _NAME).write_bytes(msgspec.json.encode(self.shape))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What `write` put into `folder`, mapped."""
        shape = msgspec.json.decode((folder / _NAME).read_bytes(), type=CorpusShape)
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("vectors", "queries", "truth")]
        return cls(shape, *arrays)


def _shape_in(folder: Path) -> CorpusShape | None:
    """The corpus that a folder holds."""
    file = folder / _NAME
    return msgspec.json.decode(file.read_bytes(), type=CorpusShape) if file.exists() else None


def read_vectors(file: Path) -> Floats:
    """The vectors (n, d) of a .npy, .jsonl or .parquet file. ConfigError, InvalidRequest."""
    records = read_records(file)
    if file.suffix.lower() == ".npy":
        return _array(file)
    first = next(records, None)
    if first is None:
        raise InvalidRequest(f"{file} holds no record; write at least {FEWEST:,}")
    rows = [first.vector]
    for number, record in enumerate(records, start=2):
        if record.vector.shape != first.vector.shape:
            raise InvalidRequest(
                f"{file}: record {number} has a vector of shape {record.vector.shape}, the first "
                f"{first.vector.shape}; all must have the same"
            )
        rows.append(record.vector)
    return np.stack(rows)


def _array(file: Path) -> Floats:
    try:
        vectors = np.load(file, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise InvalidRequest(f"{file} is no array of numpy ({error}); write it with numpy.save") from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InvalidRequest(
            f"{file} holds {vectors.dtype} of shape {vectors.shape}; save numbers of shape (count, dimensions)"
        )
    return np.asarray(vectors, np.float32)


def held_out(vectors: Floats, wanted: int, seed: int) -> tuple[Floats, Floats]:
    """Vectors without some that were drawn, and those: queries where the user has none."""
    count = min(wanted, int(len(vectors) * _HELD_OUT))
    order = np.random.default_rng(seed).permutation(len(vectors))
    return vectors[np.sort(order[count:])], vectors[order[:count]]

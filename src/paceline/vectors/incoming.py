"""Vectors of callers, checked and reduced: as they are stored, but for their precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paceline.base.errors import InvalidRequest
from paceline.vectors.metric import Floats, checked
from paceline.vectors.policy import Schema
from paceline.vectors.preprocess import Preprocess


class Incoming:
    """What comes into a collection of `schema`, as records or as queries."""

    def __init__(self, schema: Schema, preprocess: Preprocess) -> None:
        self.schema = schema
        self.preprocess = preprocess

    def vectors(self, given: Any) -> Floats:
        """Vectors (n, kept) of vectors (n, d). InvalidRequest on what cannot be stored."""
        rows = self._checked(given, "vector")
        if len(rows) == 0:
            return np.zeros((0, self.schema.stored), np.float32)
        largest = float(np.abs(rows).max())
        if largest > self.schema.largest:
            raise InvalidRequest(
                f"a vector holds {largest:g}; {self.schema.largest:g} is the most. Scale the vectors, or make the "
                "collection with rescore bf16 or fp32",
                param="vector",
            )
        return self.preprocess.apply(rows)

    def each(self, given: Sequence[Any]) -> Floats:
        """As `vectors`, of one after another; the record at fault is named."""
        wanted = (self.schema.dimensions,)
        rows = np.empty((len(given), *wanted), np.float32)
        for i, vector in enumerate(given):
            try:
                numbers = np.asarray(vector, np.float32)
            except (TypeError, ValueError) as error:
                raise InvalidRequest(
                    f"records[{i}].vector is no list of numbers ({error})", param=f"records[{i}].vector"
                ) from None
            if numbers.shape != wanted:
                raise InvalidRequest(
                    f"records[{i}].vector has shape {numbers.shape}, the collection wants {wanted}; embed it with the "
                    "collection's model",
                    param=f"records[{i}].vector",
                )
            rows[i] = numbers
        return self.vectors(rows)

    def queries(self, given: Any) -> Floats:
        """Queries (q, kept) of queries (q, d) or one (d,). InvalidRequest on what cannot be asked."""
        rows = self._checked(given, "vectors")
        return self.preprocess.apply(rows) if len(rows) else np.zeros((0, self.schema.stored), np.float32)

    def _checked(self, given: Any, param: str) -> Floats:
        try:
            numbers = np.asarray(given, np.float32)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"{param}: no list of numbers ({error})", param=param) from None
        if numbers.ndim == 2 and len(numbers) == 0:
            return numbers
        try:
            rows = checked(numbers, self.schema.dimensions)
        except InvalidRequest as error:
            raise InvalidRequest(error.message, param=param) from error
        if self.schema.metric == "cosine" and not rows.any(axis=1).all():
            row = int(np.flatnonzero(~rows.any(axis=1))[0])
            raise InvalidRequest(
                f"{param}: row {row} is all zeros, which has no cosine; send another or use the metric dot",
                param=param,
            )
        return rows


def learned(schema: Schema, sample: Any = None) -> Preprocess:
    """What a collection of `schema` does to vectors; `sample` (n, d): some thousands, from which pca learns."""
    if sample is None:
        if schema.reduction == "pca":
            raise InvalidRequest("pca learns from vectors; give a sample of some thousands", param="sample")
        sample = np.ones((1, schema.dimensions), np.float32)
    return Preprocess.learn(checked(sample, schema.dimensions), schema.reduction, schema.kept, schema.metric)

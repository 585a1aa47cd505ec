"""What is done to vectors before they are encoded, and to queries alike: fewer dimensions.

`truncate` keeps the first dimensions, for models trained so that these suffice (Matryoshka, Kusupati et al. 2022);
`pca` projects onto the directions of the sample's largest spread. Under cosine both normalise what is left.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import msgspec
import numpy as np

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.metric import Floats, Metric, checked, normalised

Reduction = Literal["none", "truncate", "pca"]


class PreprocessShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a preprocessing is, without its arrays: the part of it that is written as JSON."""

    reduction: Reduction
    metric: Metric
    dimensions: int
    kept: int
    """Dimensions that are left."""


class Preprocess(msgspec.Struct, frozen=True, eq=False):
    """A declared reduction of vectors, stored with the index that was built behind it."""

    shape: PreprocessShape
    centre: Floats  # (d,) pca under l2: what is subtracted first; otherwise zeros or (0,)
    directions: Floats  # (kept, d) pca; otherwise (0, 0)

    @classmethod
    def learn(
        cls, sample: Any, reduction: Reduction = "none", kept: int = 0, metric: Metric = "cosine"
    ) -> Self:
        """A preprocessing for vectors like those of `sample` (n, d) that leaves `kept` dimensions (0: all).

        ConfigError if `kept` is more than d, or, for pca, than n.
        """
        vectors = checked(sample)
        dimensions = vectors.shape[1]
        left = kept or dimensions
        if not 1 <= left <= dimensions or (reduction == "none" and left != dimensions):
            raise ConfigError(
                f"{kept} of {dimensions} dimensions cannot be kept by {reduction!r}; keep fewer, by pca"
            )
        shape = PreprocessShape(reduction, metric, dimensions, left)
        nothing = np.zeros(0, np.float32)
        if reduction != "pca":
            return cls(shape, nothing, nothing.reshape(0, 0))
        if len(vectors) < left:
            raise ConfigError(
                f"pca of {left} dimensions learns from {left} vectors or more, the sample has {len(vectors)}"
            )
        # Distances do not change when all vectors move, inner products do: only l2 may take the mean away.
        centre = vectors.mean(axis=0) if metric == "l2" else np.zeros(dimensions, np.float32)
        beside = (normalised(vectors) if metric == "cosine" else vectors) - centre
        _, directions = np.linalg.eigh(beside.T.astype(np.float64) @ beside)  # by rising spread
        return cls(shape, centre, np.ascontiguousarray(directions[:, ::-1].T[:left], np.float32))

    @classmethod
    def from_parts(cls, shape: PreprocessShape, arrays: dict[str, Floats]) -> Self:
        """The preprocessing of which `shape` and `arrays` were kept."""
        return cls(shape, **arrays)

    def arrays(self) -> dict[str, Floats]:
        """What `from_parts` needs beside the shape."""
        return {"centre": self.centre, "directions": self.directions}

    def apply(self, vectors: Any) -> Floats:
        """Vectors (n, kept) of vectors (n, d), or of one (d,). InvalidRequest if nothing is left of one under cosine."""
        rows = checked(vectors, self.shape.dimensions)
        match self.shape.reduction:
            case "none":
                return rows
            case "truncate":
                rows = np.ascontiguousarray(rows[:, : self.shape.kept])
            case "pca":
                rows = np.asarray((rows - self.centre) @ self.directions.T, np.float32)
        if self.shape.metric != "cosine":
            return rows
        try:
            return normalised(rows)
        except InvalidRequest as error:
            raise InvalidRequest(
                f"after {self.shape.reduction} to {self.shape.kept} dimensions: {error.message}"
            ) from error

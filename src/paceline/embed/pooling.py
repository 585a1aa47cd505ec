"""From token vectors to one vector a text: in plain numpy, which is also the twin of the graph's pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paceline.embed.folder import ModelFolder, PoolingMode
from paceline.embed.weights import Weights


def pool(hidden: np.ndarray, mask: np.ndarray, modes: Sequence[PoolingMode]) -> np.ndarray:
    """`hidden` float32 (rows, length, width), `mask` (rows, length) with 1 for tokens at the left; concatenates modes."""
    weight = mask.astype(np.float32)[:, :, None]  # (rows, length, 1)
    count = weight.sum(axis=1)  # (rows, 1)
    pooled = []
    for mode in modes:
        match mode:
            case "cls":
                pooled.append(hidden[:, 0])
            case "max":
                pooled.append(np.where(weight > 0, hidden, np.float32(-np.inf)).max(axis=1))
            case "mean":
                pooled.append((hidden * weight).sum(axis=1) / count)
            case "mean_sqrt_len":
                pooled.append((hidden * weight).sum(axis=1) / np.sqrt(count))
            case "weighted_mean":
                linear = weight * np.arange(1, hidden.shape[1] + 1, dtype=np.float32)[None, :, None]
                pooled.append((hidden * linear).sum(axis=1) / linear.sum(axis=1))
            case "last":
                pooled.append(hidden[np.arange(len(hidden)), mask.sum(axis=1).astype(np.int64) - 1])
    return np.concatenate(pooled, axis=1)


class Head:
    """What a folder does behind its encoder: pooling, dense layers, normalisation."""

    def __init__(self, folder: ModelFolder) -> None:
        self._modes = folder.pooling
        self._normalize = folder.normalize
        self._dense = [(Weights([layer.weights]), layer.activation) for layer in folder.dense]

    def __call__(self, hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """`hidden` float32 (rows, length, width) and `mask` (rows, length) to float32 (rows, dimensions)."""
        vectors = pool(hidden, mask, self._modes)
        for weights, activation in self._dense:
            vectors = vectors @ weights["linear.weight"].T
            if "linear.bias" in weights:
                vectors = vectors + weights["linear.bias"]
            match activation:
                case "tanh":
                    vectors = np.tanh(vectors)
                case "relu":
                    vectors = np.maximum(vectors, 0)
                case "gelu":
                    vectors = gelu(vectors)
        if self._normalize:
            vectors = vectors / np.maximum(np.sqrt((vectors * vectors).sum(axis=1, keepdims=True)), 1e-12)
        return vectors.astype(np.float32)


def gelu(x: np.ndarray) -> np.ndarray:
    """Exact GELU, with the error function of Abramowitz and Stegun 7.1.26 (absolute error below 2e-7)."""
    z = np.abs(x) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1.0 - series * np.exp(-z * z))
    return np.asarray(0.5 * x * (1.0 + erf))

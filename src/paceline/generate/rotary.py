"""Rotary position embedding: the angle by which each pair of dimensions turns per position."""

from __future__ import annotations

import math

import numpy as np

from paceline.generate.config import ModelConfig, RopeScaling


def inverse_frequencies(config: ModelConfig) -> tuple[np.ndarray, float]:
    """Radians per position (head_dim / 2,) in float32, and the factor that cosines and sines are multiplied by.

    Pair i of a head is its dimensions i and i + head_dim / 2, as checkpoints of the Llama family store them.
    """
    pairs = np.arange(0, config.head_dim, 2, dtype=np.float64) / config.head_dim
    plain = config.rope_theta**-pairs
    scaling = config.rope_scaling
    if scaling is None:
        return plain.astype(np.float32), 1.0
    if scaling.kind == "linear":
        return (plain / scaling.factor).astype(np.float32), 1.0
    if scaling.kind == "llama3":
        return _llama3(plain, scaling).astype(np.float32), 1.0
    return _yarn(plain, config, scaling).astype(np.float32), scaling.attention_factor


def rotary_table(config: ModelConfig, positions: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines (positions, head_dim / 2) in float32."""
    frequencies, factor = inverse_frequencies(config)
    # Angles in float32, as the models were trained: at position 30,000 float64 would differ in the fourth digit.
    angles = np.outer(np.arange(positions, dtype=np.float32), frequencies)
    return (np.cos(angles) * np.float32(factor), np.sin(angles) * np.float32(factor))


def _llama3(plain: np.ndarray, scaling: RopeScaling) -> np.ndarray:
    """Fast pairs stay, slow ones are divided by the factor, those between are blended."""
    turns = scaling.original_positions * plain / (2 * math.pi)  # over the context the model was trained on
    share = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = np.clip(share, 0.0, 1.0)
    return np.asarray(plain * kept + plain / scaling.factor * (1.0 - kept))


def _yarn(plain: np.ndarray, config: ModelConfig, scaling: RopeScaling) -> np.ndarray:
    """As llama3, but the blend is linear in the pair's index."""

    def index_of(turns: float) -> float:
        """The pair (a fraction) that turns so often over the original context."""
        ratio = scaling.original_positions / (turns * 2 * math.pi)
        return config.head_dim * math.log(ratio) / (2 * math.log(config.rope_theta))

    first, last = index_of(scaling.beta_fast), index_of(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, config.head_dim - 1)
    width = last - first or 0.001
    slow = np.clip((np.arange(len(plain)) - first) / width, 0.0, 1.0)
    return np.asarray(plain / scaling.factor * slow + plain * (1.0 - slow))

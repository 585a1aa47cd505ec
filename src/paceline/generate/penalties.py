"""Making tokens likelier or less likely than the model has them: penalties for repeating, and the caller's bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from paceline.base.generation import Sampling


def penalise(logits: np.ndarray, sampling: Sampling, prompt: np.ndarray, output: Sequence[int]) -> None:
    """Lower the logits (V,) of tokens that were there before, in place.

    The repetition penalty counts prompt and output and scales (Hugging Face); presence and frequency penalties count
    the output and subtract (OpenAI).
    """
    written = np.array(output, np.int64)
    if sampling.repetition_penalty != 1.0:
        seen = np.concatenate((prompt, written))
        scores = logits[seen]
        penalty = np.float32(sampling.repetition_penalty)
        logits[seen] = np.where(scores < 0, scores * penalty, scores / penalty)
    if (sampling.presence_penalty or sampling.frequency_penalty) and len(written):
        tokens, counts = np.unique(written, return_counts=True)
        logits[tokens] -= (sampling.presence_penalty + sampling.frequency_penalty * counts).astype(np.float32)


def bias(logits: np.ndarray, logit_bias: Mapping[int, float]) -> None:
    """Add to the logits (V,) of the tokens named, in place."""
    tokens = np.fromiter(logit_bias.keys(), np.int64, len(logit_bias))
    logits[tokens] += np.fromiter(logit_bias.values(), np.float32, len(logit_bias))

"""Log-probabilities (natural) under the model's own logits: what the caller sees, and what scoring adds up."""

from __future__ import annotations

from math import log

import numpy as np


def log_total(row: np.ndarray) -> float:
    """The logarithm of the summed exponentials of a row (V,) of logits: subtract it to get log-probabilities."""
    highest = float(row.max())
    return highest + log(float(np.exp(row - np.float32(highest)).sum(dtype=np.float64)))


def token_logprobs(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability of each target and whether it is the likeliest token: float64 (n,) and bool (n,).

    `logits` are float32 (n, V), `targets` ids (n,). Among equals the lowest id is the likeliest.
    """
    logprobs = np.empty(len(targets), np.float64)
    likeliest = np.empty(len(targets), np.bool_)
    for place, target in enumerate(targets):
        row = logits[place]  # one at a time: the exponentials of a row stay in the processor's cache
        logprobs[place] = float(row[target]) - log_total(row)
        likeliest[place] = int(np.argmax(row)) == target
    return logprobs, likeliest


def top_logprobs(row: np.ndarray, count: int) -> tuple[tuple[int, float], ...]:
    """(id, logprob) of the `count` likeliest tokens of a row (V,), likeliest first and lower ids first among equals."""
    if count == 0:
        return ()
    total = log_total(row)
    place = max(0, len(row) - count)
    candidates = np.flatnonzero(row >= np.partition(row, place)[place])
    order = np.argsort(-row[candidates], kind="stable")[:count]
    return tuple((int(token), float(row[token]) - total) for token in candidates[order])

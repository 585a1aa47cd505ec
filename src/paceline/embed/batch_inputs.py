"""A batch of texts of different lengths as the arrays a model takes: end to end, or padded to a rectangle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def ragged_inputs(batch: Sequence[np.ndarray], first_position: int, bucket: int) -> list[np.ndarray]:
    """Inputs of a ragged graph for `batch`, int32 id arrays of any lengths: ids, positions, rows, places, mask.

    ids, positions (tokens,): all texts end to end, padded to a multiple of `bucket`: a new count costs a compilation.
    rows (texts, longest): which row of the matrix each place of the rectangle reads, 0 for padding.
    places (tokens,): which place of the rectangle each row reads back. mask (texts, longest): 1 for tokens.
    """
    lengths = np.array([len(ids) for ids in batch])
    total = int(lengths.sum())
    padded = -(-total // bucket) * bucket
    mask = np.arange(int(lengths.max()))[None, :] < lengths[:, None]  # (texts, longest)
    ids, positions, places = (np.zeros(padded, np.int32) for _ in range(3))
    ids[:total] = np.concatenate(batch)
    places[:total] = np.flatnonzero(mask)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    positions[:total] = np.arange(total) - starts + first_position
    rows = np.zeros(mask.shape, np.int32)
    rows[mask] = np.arange(total)
    return [ids, positions, rows, places, mask.astype(np.float32)]


def padded_inputs(batch: Sequence[np.ndarray], bucket: int, max_tokens: int) -> dict[str, np.ndarray]:
    """Inputs of an ONNX encoder, int64 (rows, length rounded up to `bucket` but not over `max_tokens`)."""
    longest = max(len(ids) for ids in batch)
    length = max(longest, min(-(-longest // bucket) * bucket, max_tokens))
    ids = np.zeros((len(batch), length), np.int64)
    mask = np.zeros((len(batch), length), np.int64)
    for row, values in enumerate(batch):
        ids[row, : len(values)] = values
        mask[row, : len(values)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}

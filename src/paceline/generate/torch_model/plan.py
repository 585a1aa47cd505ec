"""A batch as index tensors: made once a step, read by every layer."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import torch

from paceline.generate.batch import Batch
from paceline.generate.runner import BLOCK_TOKENS

_SMALLEST_SPAN: Final = 32


class DecodeGroup(msgspec.Struct, frozen=True):
    """S sequences of one row each whose contexts are padded to the same length T."""

    rows: torch.Tensor
    """(S,) their rows in the batch."""
    slots: torch.Tensor
    """(S, T) where their keys and values lie; the cache's zero slot behind a context's end."""
    mask: torch.Tensor
    """(S, 1, 1, T) float: 0 within the context, minus infinity behind it."""


class PrefillSpan(msgspec.Struct, frozen=True):
    """One sequence of several rows: a piece of a prompt, or guessed tokens to be checked."""

    start: int
    stop: int
    """Its rows are `start` to `stop - 1` of the batch."""
    slots: torch.Tensor
    """(T,) all positions that any of its rows sees."""
    mask: torch.Tensor
    """(rows, T) bool: True where a row sees a position."""


class Plan(msgspec.Struct, frozen=True):
    """M rows of the batch, sorted into ways of attending."""

    tokens: torch.Tensor
    """(M,) int64."""
    positions: torch.Tensor
    """(M,) int64."""
    slots: torch.Tensor
    """(M,) where each row's keys and values are written."""
    decodes: tuple[DecodeGroup, ...]
    prefills: tuple[PrefillSpan, ...]
    wanted: torch.Tensor
    """(W,) int64."""


def padded_span(tokens: int) -> int:
    """T for a context of so many tokens: at most a quarter longer, and the same whatever else is in the batch."""
    if tokens <= _SMALLEST_SPAN:
        return _SMALLEST_SPAN
    step = 1 << max(0, (tokens - 1).bit_length() - 3)
    return -(-tokens // step) * step


def make_plan(batch: Batch, *, window: int | None, zero_slot: int, device: torch.device) -> Plan:
    """Index tensors of `batch` on `device`; rows see at most `window` positions, themselves included."""

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.int64)).to(device)

    lengths = np.diff(batch.starts)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    return Plan(
        tokens=tensor(batch.tokens),
        positions=tensor(batch.positions),
        slots=tensor(_slots(batch.tables[owners], batch.positions[:, None])[:, 0]),
        decodes=tuple(_decode_groups(batch, lengths, window, zero_slot, device)),
        prefills=tuple(
            _prefill_span(batch, int(sequence), window, device) for sequence in np.flatnonzero(lengths > 1)
        ),
        wanted=tensor(batch.wanted),
    )


def spans_of(
    tables: np.ndarray, contexts: np.ndarray, *, window: int | None, zero_slot: int, padded: int
) -> tuple[np.ndarray, np.ndarray]:
    """Slots (S, `padded`) of what the last token of each context sees, and whether they are real (S, `padded`)."""
    spans = contexts if window is None else np.minimum(contexts, window)
    offsets = np.arange(padded)
    real = offsets < spans[:, None]
    positions = np.where(real, (contexts - spans)[:, None] + offsets, 0)
    return np.where(real, _slots(tables, positions), zero_slot), real


def _slots(tables: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Where positions (S, P) of sequences with block tables (S, B) lie, counted over all blocks."""
    blocks = np.take_along_axis(tables, positions // BLOCK_TOKENS, axis=1).astype(np.int64)
    return np.asarray(blocks * BLOCK_TOKENS + positions % BLOCK_TOKENS)


def _decode_groups(
    batch: Batch, lengths: np.ndarray, window: int | None, zero_slot: int, device: torch.device
) -> list[DecodeGroup]:
    single = np.flatnonzero(lengths == 1)
    contexts = batch.contexts[single]
    spans = contexts if window is None else np.minimum(contexts, window)
    padded = np.array([padded_span(int(span)) for span in spans])
    groups = []
    for length in np.unique(padded):
        members = single[padded == length]
        slots, real = spans_of(
            batch.tables[members],
            batch.contexts[members],
            window=window,
            zero_slot=zero_slot,
            padded=int(length),
        )
        mask = np.where(real, np.float32(0), np.float32(-np.inf))[:, None, None, :]
        groups.append(
            DecodeGroup(
                torch.from_numpy(batch.starts[members].astype(np.int64)).to(device),
                torch.from_numpy(slots).to(device),
                torch.from_numpy(mask).to(device),
            )
        )
    return groups


def _prefill_span(batch: Batch, sequence: int, window: int | None, device: torch.device) -> PrefillSpan:
    start, stop = int(batch.starts[sequence]), int(batch.starts[sequence + 1])
    context = int(batch.contexts[sequence])
    rows = np.arange(context - (stop - start), context)[:, None]
    first = 0 if window is None else max(0, int(rows[0, 0]) - window + 1)
    positions = np.arange(first, context)
    seen = positions <= rows
    if window is not None:
        seen &= positions > rows - window
    slots = _slots(batch.tables[sequence : sequence + 1], positions[None])[0]
    return PrefillSpan(start, stop, torch.from_numpy(slots).to(device), torch.from_numpy(seen).to(device))

"""What one step of the engine computes: rows of several sequences, prompts and single tokens mixed."""

from __future__ import annotations

import msgspec
import numpy as np


class Batch(msgspec.Struct, frozen=True, gc=False):
    """M rows (tokens to compute) of S sequences. All arrays are int32 and C-contiguous.

    Sequence s owns rows `starts[s]:starts[s + 1]`; they are the last ones of its context, so row r of it stands at
    position `contexts[s] - (starts[s + 1] - r)`. Its keys and values go into, and are read from, the blocks of
    `tables[s]`: position p lies in block `tables[s, p // block_tokens]` at `p % block_tokens`. Two sequences may
    share blocks, even blocks that one of them fills in this very step: every layer writes all rows' keys and values
    before any row attends.
    """

    tokens: np.ndarray
    """(M,) ids."""
    positions: np.ndarray
    """(M,) from 0."""
    starts: np.ndarray
    """(S + 1,) from 0 to M."""
    contexts: np.ndarray
    """(S,) tokens with keys and values once this step is done, its rows included."""
    tables: np.ndarray
    """(S, B) block numbers; entries behind a sequence's last block are 0 and never read."""
    wanted: np.ndarray
    """(W,) rows whose logits are asked for, ascending."""

"""Guessing the next tokens by looking up how the text went on the last time: n-gram (prompt lookup) speculation.

A guess costs nothing to make and is checked by the model in the step that would have computed one token anyway, so
texts that repeat themselves (code, extraction, retrieval) come faster; the tokens drawn are those that would have
been drawn without it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

LONGEST: Final = 4
"""Tokens that must match, tried from the longest to the shortest."""
SHORTEST: Final = 2


def guess(ids: np.ndarray, count: int) -> list[int]:
    """Up to `count` tokens that followed the last earlier place that ended as `ids` (int32) ends now."""
    length = len(ids)
    for size in range(min(LONGEST, length - 1), SHORTEST - 1, -1):
        tail = ids[length - size :]
        # Ends of earlier occurrences: every place whose last token is right, then the ones before it.
        ends = np.flatnonzero(ids[size - 1 : length - 1] == tail[-1]) + size
        for back in range(2, size + 1):
            ends = ends[ids[ends - back] == tail[-back]]
        if len(ends):
            end = int(ends[-1])
            found: list[int] = ids[end : end + count].tolist()
            return found
    return []

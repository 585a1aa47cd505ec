"""What the embedding service returns: vectors as bytes, ready to be encoded, and where the time went."""

from __future__ import annotations

import msgspec
import numpy as np

from paceline.base.timings import Timings


class EmbedResult(msgspec.Struct, gc=False):
    """Vectors of one request, in the order of its inputs."""

    vectors: list[bytes]
    """Little-endian float32, `dimensions` values each."""
    tokens: int
    """Tokens the model saw, after truncation, special tokens included."""
    truncated: list[int]
    """Indices of inputs that were cut to the model's window."""
    model: str
    timings: Timings

    def array(self) -> np.ndarray:
        """Vectors as one float32 array of shape (texts, dimensions)."""
        return np.frombuffer(b"".join(self.vectors), dtype="<f4").reshape(len(self.vectors), -1)

"""int8 linear layers on a GPU."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere

_SMALLEST_ROWS: Final = 32
"""cuBLAS' int8 product wants more than 16 rows, and multiples of 8 everywhere."""


class GpuInt8Linear:
    """int8 weights and activations, accumulated in int32; as on a processor, each row has a scale of its own."""

    def __init__(self, codes: np.ndarray, scales: np.ndarray, device: torch.device) -> None:
        """`codes` (out, in) int8 and `scales` (out,), as `quantize_rows` makes them."""
        self._outputs, self._inputs = codes.shape
        padding = (0, -self._inputs % 8, 0, -self._outputs % 8)
        self._codes = F.pad(torch.from_numpy(codes).to(device), padding)
        self._scales = F.pad(torch.from_numpy(scales).to(device), (0, padding[3]))
        self.nbytes = self._codes.nbytes + self._scales.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(M, in) -> (M, out)."""
        wide = x.float()
        scale = wide.abs().amax(dim=1, keepdim=True).clamp_min(1e-20) / 127  # (M, 1)
        codes = (wide / scale).round().to(torch.int8)
        rows = max(_SMALLEST_ROWS, -(-len(x) // 8) * 8)
        codes = F.pad(codes, (0, self._codes.shape[1] - self._inputs, 0, rows - len(x)))
        sums = torch._int_mm(codes, self._codes.t())[: len(x)]  # noqa: SLF001 - as torchao does; int32
        return (sums.float() * scale * self._scales)[:, : self._outputs].to(x.dtype)

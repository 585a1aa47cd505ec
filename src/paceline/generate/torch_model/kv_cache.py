"""Keys and values of all layers in blocks."""

from __future__ import annotations

from typing import Final

import torch

from paceline.generate.config import ModelConfig
from paceline.generate.runner import BLOCK_TOKENS

_STORED: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}


class KvCache:
    """Per layer a tensor [2, blocks + 1, BLOCK_TOKENS, kv_heads, head_dim]: keys, then values.

    A slot is a token's place, counted over all blocks. The block behind the last is the cache's own: its first slot
    stays zero and stands for positions that do not exist (numbers left there by others could be NaN, and NaN times a
    weight of zero is NaN), its second one takes what rows of padding write. int8 has a scale for each token and head.
    """

    def __init__(  # noqa: PLR0913 - shape and types of one tensor
        self,
        config: ModelConfig,
        *,
        layers: int,
        blocks: int,
        precision: str,
        device: torch.device,
        computed: torch.dtype,
    ) -> None:
        """`computed` is the type that `read` gives."""
        shape = (2, blocks + 1, BLOCK_TOKENS, config.kv_heads, config.head_dim)
        self._computed = computed
        self._data = [torch.zeros(shape, dtype=_STORED[precision], device=device) for _ in range(layers)]
        self._scales = [
            torch.zeros(shape[:-1], dtype=torch.float32, device=device)
            for _ in range(layers if precision == "int8" else 0)
        ]
        self.zero_slot = blocks * BLOCK_TOKENS
        self.spare_slot = blocks * BLOCK_TOKENS + 1

    @property
    def nbytes(self) -> int:
        """Of all tensors."""
        return sum(tensor.nbytes for tensor in (*self._data, *self._scales))

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor, slots: torch.Tensor) -> None:
        """Put (M, kv_heads, head_dim) each into `slots` (M,)."""
        for half, rows in enumerate((keys, values)):
            flat = self._data[layer][half].flatten(0, 1)  # (slots, kv_heads, head_dim), a view
            if not self._scales:
                flat.index_copy_(0, slots, rows.to(flat.dtype))
                continue
            wide = rows.float()
            scale = wide.abs().amax(dim=-1).clamp_min(1e-20) / 127  # (M, kv_heads)
            flat.index_copy_(0, slots, (wide / scale.unsqueeze(-1)).round_().to(torch.int8))
            self._scales[layer][half].flatten(0, 1).index_copy_(0, slots, scale)

    def read(self, layer: int, slots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (*slots.shape, kv_heads, head_dim) of `slots`, a copy."""
        return self._read(layer, 0, slots), self._read(layer, 1, slots)

    def _read(self, layer: int, half: int, slots: torch.Tensor) -> torch.Tensor:
        wanted = slots.flatten()
        rows = self._data[layer][half].flatten(0, 1).index_select(0, wanted).to(self._computed)
        if self._scales:
            scales = self._scales[layer][half].flatten(0, 1).index_select(0, wanted)
            rows *= scales.unsqueeze(-1).to(self._computed)
        return rows.view(*slots.shape, *rows.shape[1:])

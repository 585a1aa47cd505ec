"""The Llama family's decoder over a range of layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere

from paceline.generate.config import ModelConfig
from paceline.generate.rotary import rotary_table
from paceline.generate.torch_model.attention import attend
from paceline.generate.torch_model.kv_cache import KvCache
from paceline.generate.torch_model.plan import Plan
from paceline.generate.torch_model.weights import LayerWeights, ModelWeights

Turns = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines (M, 1, head_dim / 2) of the rows' positions."""


class Decoder:
    """Weights, keys and values of a contiguous range of layers."""

    def __init__(  # noqa: PLR0913 - the parts it is made of
        self,
        config: ModelConfig,
        weights: ModelWeights,
        cache: KvCache,
        *,
        positions: int,
        device: torch.device,
        computed: torch.dtype,
    ) -> None:
        """`positions` bounds the context, `computed` is the type of hidden states."""
        self._config = config
        self._weights = weights
        self.cache = cache
        self._computed = computed
        cosines, sines = rotary_table(config, positions)
        self._cosines = torch.from_numpy(cosines).to(device)  # (positions, head_dim / 2)
        self._sines = torch.from_numpy(sines).to(device)

    def embed(self, plan: Plan) -> torch.Tensor:
        """Hidden states (M, hidden) of the rows' tokens."""
        table = self._weights.embedding
        assert table is not None, "only the first range of layers embeds"
        return table.index_select(0, plan.tokens).to(self._computed)

    def layers(self, plan: Plan, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (M, hidden) behind the last layer of the range; writes the rows' keys and values."""
        turns = (
            self._cosines.index_select(0, plan.positions).unsqueeze(1),
            self._sines.index_select(0, plan.positions).unsqueeze(1),
        )
        for number, layer in enumerate(self._weights.layers):
            hidden = hidden + self._attention(plan, number, hidden, turns)
            hidden = hidden + self._mlp(layer, hidden)
        return hidden

    def logits(self, plan: Plan, hidden: torch.Tensor) -> torch.Tensor:
        """Float32 logits (W, vocabulary) of the wanted rows."""
        weights = self._weights
        assert weights.head is not None, "only the last range of layers makes logits"
        assert weights.norm is not None
        if not len(plan.wanted):  # a step of prompts none of which ends; not every kernel takes no rows
            return torch.empty(0, self._config.vocab_size)
        return weights.head(self._norm(hidden.index_select(0, plan.wanted), weights.norm)).float()

    def _attention(self, plan: Plan, number: int, hidden: torch.Tensor, turns: Turns) -> torch.Tensor:
        config, layer = self._config, self._weights.layers[number]
        qkv = layer.qkv(self._norm(hidden, layer.attention_norm))
        if layer.qkv_bias is not None:
            qkv = qkv + layer.qkv_bias.to(qkv.dtype)
        heads = qkv.view(len(hidden), config.heads + 2 * config.kv_heads, config.head_dim)
        turned, values = heads.tensor_split((config.heads + config.kv_heads,), dim=1)
        if layer.head_norm is not None:
            turned = self._norm(turned, layer.head_norm)
        queries, keys = rotate(turned, turns).tensor_split((config.heads,), dim=1)
        self.cache.write(number, keys, values, plan.slots)
        attended = attend(plan, self.cache, number, queries.contiguous())
        return layer.attended(attended.flatten(1))

    def _mlp(self, layer: LayerWeights, hidden: torch.Tensor) -> torch.Tensor:
        gate, up = layer.gate_up(self._norm(hidden, layer.mlp_norm)).chunk(2, dim=-1)
        return layer.down(F.silu(gate) * up)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """RMSNorm over the last dimension, in float32."""
        normed = F.rms_norm(x.float(), (x.shape[-1],), eps=self._config.norm_eps)
        return (normed * weight).to(x.dtype)


def rotate(heads: torch.Tensor, turns: Turns) -> torch.Tensor:
    """Heads (M, H, head_dim) turned by their rows' angles."""
    cosines, sines = turns
    first, second = heads.float().chunk(2, dim=-1)
    turned = torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)
    return turned.to(heads.dtype)

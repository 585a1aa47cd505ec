"""From a checkpoint's tensors to layers that compute: fused, in the chosen precision, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import torch

from paceline.base.errors import ConfigError
from paceline.generate.checkpoint import Checkpoint
from paceline.generate.quantized_weights import QuantizedWeights, output_layer
from paceline.generate.torch_model.gpu_linear import GpuInt8Linear
from paceline.generate.torch_model.linear import (
    FloatLinear,
    Int4Linear,
    Int8Linear,
    Linear,
    PackedBf16Linear,
)


class LayerWeights(msgspec.Struct, frozen=True):
    """One decoder layer. Norms are vectors in float32."""

    attention_norm: torch.Tensor
    qkv: Linear
    """Queries, keys and values in one product."""
    qkv_bias: torch.Tensor | None
    head_norm: torch.Tensor | None
    """(heads + kv_heads, 1 x head_dim): of queries, then of keys."""
    attended: Linear
    mlp_norm: torch.Tensor
    gate_up: Linear
    """Gate, then up."""
    down: Linear


class ModelWeights(msgspec.Struct, frozen=True):
    """Of a contiguous range of layers; the first range embeds, the last one makes logits."""

    embedding: torch.Tensor | None
    """(vocabulary, hidden) as stored: a view of the mapped file on a processor."""
    layers: tuple[LayerWeights, ...]
    norm: torch.Tensor | None
    head: Linear | None

    @property
    def nbytes(self) -> int:
        """Of everything, mapped pages included."""
        total = sum(tensor.nbytes for tensor in (self.embedding, self.norm) if tensor is not None)
        total += self.head.nbytes if self.head else 0
        for layer in self.layers:
            vectors = (layer.attention_norm, layer.qkv_bias, layer.head_norm, layer.mlp_norm)
            total += sum(vector.nbytes for vector in vectors if vector is not None)
            total += sum(each.nbytes for each in (layer.qkv, layer.attended, layer.gate_up, layer.down))
        return total


class WeightLoader:
    """Makes layers of one checkpoint."""

    def __init__(
        self, checkpoint: Checkpoint, precision: str, device: torch.device, quantized: QuantizedWeights | None
    ) -> None:
        """`quantized` is there exactly when the precision is int8 or int4."""
        self._checkpoint = checkpoint
        self._precision = precision
        self._device = device
        self._quantized = quantized

    def load(self, layers: range) -> ModelWeights:
        """Weights of the layers numbered `layers`."""
        config = self._checkpoint.config
        last = layers.stop == config.layers
        loaded = ModelWeights(
            embedding=self._stored("model.embed_tokens.weight") if layers.start == 0 else None,
            layers=tuple(self._layer(number) for number in layers),
            norm=self._vector("model.norm.weight") if last else None,
            head=self._linear([output_layer(self._checkpoint)]) if last else None,
        )
        self._checkpoint.forget()
        if self._quantized:
            self._quantized.forget()
        return loaded

    def _layer(self, number: int) -> LayerWeights:
        config = self._checkpoint.config
        layer = f"model.layers.{number}"
        qkv = [f"{layer}.self_attn.{part}_proj" for part in "qkv"]
        head_norm = None
        if config.qk_norm:
            queries, keys = (self._vector(f"{layer}.self_attn.{part}_norm.weight") for part in "qk")
            head_norm = torch.cat((queries.expand(config.heads, -1), keys.expand(config.kv_heads, -1)))
        return LayerWeights(
            attention_norm=self._vector(f"{layer}.input_layernorm.weight"),
            qkv=self._linear([f"{name}.weight" for name in qkv]),
            qkv_bias=torch.cat([self._vector(f"{name}.bias") for name in qkv]) if config.qkv_bias else None,
            head_norm=head_norm,
            attended=self._linear([f"{layer}.self_attn.o_proj.weight"]),
            mlp_norm=self._vector(f"{layer}.post_attention_layernorm.weight"),
            gate_up=self._linear([f"{layer}.mlp.{part}_proj.weight" for part in ("gate", "up")]),
            down=self._linear([f"{layer}.mlp.down_proj.weight"]),
        )

    def _linear(self, names: Sequence[str]) -> Linear:
        """One layer whose outputs are those of all `names`, in order."""
        quantized = self._quantized
        if quantized is not None and quantized.is_int4(names[0]):
            if self._device.type == "cuda":
                raise ConfigError(
                    "generate.precision = int4 runs on processors only; take int8 or bf16, or set generate.device = cpu",
                    param="generate.precision",
                )
            columns = zip(*(quantized.int4(name) for name in names), strict=True)
            return Int4Linear(*(np.concatenate(column) for column in columns))
        if quantized is not None:
            columns = zip(*(quantized.int8(name) for name in names), strict=True)
            codes, scales = (np.concatenate(column) for column in columns)
            if self._device.type == "cuda":
                return GpuInt8Linear(codes, scales, self._device)
            return Int8Linear(codes, scales)
        if self._precision == "fp32":
            fused = torch.from_numpy(np.concatenate([self._checkpoint.float32(name) for name in names]))
            return FloatLinear(fused.to(self._device))
        half = torch.cat([self._stored(name).to(torch.bfloat16) for name in names])
        if self._device.type == "cpu" and PackedBf16Linear.is_available():
            return PackedBf16Linear(half)
        return FloatLinear(half.to(self._device))

    def _stored(self, name: str) -> torch.Tensor:
        """The tensor in its own type; a view of the file on a processor."""
        tensor = self._checkpoint.get(name)
        array = torch.from_numpy(tensor.data)
        return (array.view(torch.bfloat16) if tensor.dtype == "BF16" else array).to(self._device)

    def _vector(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self._checkpoint.float32(name)).to(self._device)

"""Where each model type keeps its tensors and how its configuration names its sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from paceline.base.errors import ConfigError
from paceline.embed.folder import ModelFolder
from paceline.embed.weights import Weights

ACTIVATIONS: Mapping[str, str] = {
    "gelu": "erf",
    "gelu_new": "tanh",
    "gelu_pytorch_tanh": "tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


class LayerNames(msgspec.Struct, frozen=True):
    """Tensor names of one encoder layer, without `.weight` and `.bias`."""

    query: str
    key: str
    value: str
    attended: str
    attention_norm: str
    up: str
    down: str
    output_norm: str


class Architecture(msgspec.Struct, frozen=True):
    """A post-norm transformer encoder, as BERT is."""

    layers: tuple[LayerNames, ...]
    heads: int
    epsilon: float
    activation: str
    """`erf`, `tanh`, `relu` or `silu`."""
    first_position: int
    token_types: bool
    relative_bias: str
    """Tensor of bucketed relative positions (T5's, used by MPNet), or empty."""


def architecture(folder: ModelFolder) -> Architecture:
    """Read sizes and names; raises ConfigError for a variant we would compute wrongly."""
    config = folder.config
    kind = config.get("position_embedding_type", "absolute") or "absolute"
    if kind != "absolute":
        raise ConfigError(
            f"{folder.path / 'config.json'}: position_embedding_type {kind!r} is not supported (absolute is); "
            "export the model to onnx/model.onnx",
            param="embed.model",
        )
    activation = str(config.get("hidden_act") or config.get("activation") or "gelu")
    if activation not in ACTIVATIONS:
        raise ConfigError(
            f"{folder.path / 'config.json'}: activation {activation!r} is not supported ({', '.join(ACTIVATIONS)} are); "
            "export the model to onnx/model.onnx",
            param="embed.model",
        )
    build = {"distilbert": _distilbert, "mpnet": _mpnet}.get(folder.architecture, _bert)
    return build(config, ACTIVATIONS[activation])


def _bert(config: Mapping[str, Any], activation: str) -> Architecture:
    roberta = config["model_type"] != "bert"
    return Architecture(
        layers=tuple(
            LayerNames(
                query=f"encoder.layer.{n}.attention.self.query",
                key=f"encoder.layer.{n}.attention.self.key",
                value=f"encoder.layer.{n}.attention.self.value",
                attended=f"encoder.layer.{n}.attention.output.dense",
                attention_norm=f"encoder.layer.{n}.attention.output.LayerNorm",
                up=f"encoder.layer.{n}.intermediate.dense",
                down=f"encoder.layer.{n}.output.dense",
                output_norm=f"encoder.layer.{n}.output.LayerNorm",
            )
            for n in range(config["num_hidden_layers"])
        ),
        heads=config["num_attention_heads"],
        epsilon=config.get("layer_norm_eps", 1e-12),
        activation=activation,
        # RoBERTa numbers positions from behind the padding id, a leftover of fairseq.
        first_position=(config.get("pad_token_id") or 1) + 1 if roberta else 0,
        token_types=config.get("type_vocab_size", 2) > 0,
        relative_bias="",
    )


def _distilbert(config: Mapping[str, Any], activation: str) -> Architecture:
    return Architecture(
        layers=tuple(
            LayerNames(
                query=f"transformer.layer.{n}.attention.q_lin",
                key=f"transformer.layer.{n}.attention.k_lin",
                value=f"transformer.layer.{n}.attention.v_lin",
                attended=f"transformer.layer.{n}.attention.out_lin",
                attention_norm=f"transformer.layer.{n}.sa_layer_norm",
                up=f"transformer.layer.{n}.ffn.lin1",
                down=f"transformer.layer.{n}.ffn.lin2",
                output_norm=f"transformer.layer.{n}.output_layer_norm",
            )
            for n in range(config["n_layers"])
        ),
        heads=config["n_heads"],
        epsilon=1e-12,
        activation=activation,
        first_position=0,
        token_types=False,
        relative_bias="",
    )


def _mpnet(config: Mapping[str, Any], activation: str) -> Architecture:
    return Architecture(
        layers=tuple(
            LayerNames(
                query=f"encoder.layer.{n}.attention.attn.q",
                key=f"encoder.layer.{n}.attention.attn.k",
                value=f"encoder.layer.{n}.attention.attn.v",
                attended=f"encoder.layer.{n}.attention.attn.o",
                attention_norm=f"encoder.layer.{n}.attention.LayerNorm",
                up=f"encoder.layer.{n}.intermediate.dense",
                down=f"encoder.layer.{n}.output.dense",
                output_norm=f"encoder.layer.{n}.output.LayerNorm",
            )
            for n in range(config["num_hidden_layers"])
        ),
        heads=config["num_attention_heads"],
        epsilon=config.get("layer_norm_eps", 1e-12),
        activation=activation,
        first_position=(config.get("pad_token_id") or 1) + 1,
        token_types=False,
        relative_bias="encoder.relative_attention_bias",
    )


class Tensors:
    """Tensors of the encoder by architecture name, whatever prefix the checkpoint put before them."""

    def __init__(self, folder: ModelFolder) -> None:
        """Raises ConfigError when the files hold no encoder."""
        self.weights = Weights(folder.weights)
        self._path = folder.path
        anchor = "embeddings.word_embeddings.weight"
        self._prefix = next((name[: -len(anchor)] for name in self.weights if name.endswith(anchor)), None)
        if self._prefix is None:
            raise ConfigError(
                f"{folder.weights[0]} has no tensor {anchor}; it is not the {folder.architecture} encoder that "
                "config.json says",
                param="embed.model",
            )

    def __call__(self, name: str) -> np.ndarray:
        """The tensor `name`; raises ConfigError when it is missing."""
        # Checkpoints converted from TensorFlow call the weight and bias of a norm gamma and beta.
        older = name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
        for candidate in (name, older):
            full = f"{self._prefix}{candidate}"
            if full in self.weights:
                return self.weights[full]
        raise ConfigError(
            f"the weights in {self._path} have no tensor {self._prefix}{name}, which config.json implies; "
            "copy the weights that belong to this config.json",
            param="embed.model",
        )


def bucket_of(distance: np.ndarray, buckets: int = 32, farthest: int = 128) -> np.ndarray:
    """T5's bucket of each distance (key minus query): half for each direction, near ones exact, far ones on a log scale."""
    half = buckets // 2
    exact = half // 2
    size = np.abs(distance)
    scale = np.log(np.maximum(size, 1).astype(np.float32) / exact) / np.float32(np.log(farthest / exact))
    far = np.minimum(exact + (scale * (half - exact)).astype(np.int64), half - 1)
    return np.asarray(np.where(distance > 0, half, 0) + np.where(size < exact, size, far))

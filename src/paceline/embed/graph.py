"""OpenVINO graphs of text encoders, made from safetensors without torch, or from an ONNX file.

The encoder runs *ragged*: the tokens of all texts lie in one matrix (tokens, width), so that the linear layers, nine
tenths of the work, see no padding. Only attention needs a rectangle; two gathers a layer go there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import openvino as ov
from openvino import opset13 as op

from paceline.base.errors import ConfigError
from paceline.embed.architecture import Architecture, Tensors, architecture, bucket_of
from paceline.embed.folder import ModelFolder, PoolingMode
from paceline.embed.weights import Weights

Node = Any
"""An OpenVINO node or output; the library types neither precisely."""

Linear = Callable[[Tensors, Node, Sequence[str]], list[Node]]
"""Linear layers that share an input: (tensors, x (tokens, in), names) -> one (tokens, out) each."""

_MASKED: Final = np.float32(-1e9)


def constant(value: np.ndarray | np.generic) -> Node:
    """A constant that shares the array's memory, which is why the weights are mapped and not read."""
    array = np.asarray(value)
    return op.constant(array, shared_memory=array.ndim > 0 and array.flags.c_contiguous)


def axes(*values: int) -> Node:
    """A vector of int64, as shapes and axes are."""
    return op.constant(np.array(values, np.int64))


def plain_linear(tensors: Tensors, x: Node, names: Sequence[str]) -> list[Node]:
    """Multiply by the transposed weights and add the bias, in the graph's own precision."""
    return [
        op.add(op.matmul(x, constant(tensors(f"{name}.weight")), False, True), bias(tensors, name))
        for name in names
    ]


def bias(tensors: Tensors, name: str) -> Node:
    """Bias of a linear layer as (1, out)."""
    return constant(tensors(f"{name}.bias").reshape(1, -1))


def ragged_graph(
    folder: ModelFolder,
    tensors: Tensors,
    linear: Linear = plain_linear,
    *,
    layers: int | None = None,
    observed: Sequence[Node] | None = None,
) -> ov.Model:
    """The encoder, pooling, dense layers and normalisation of a safetensors folder.

    `layers` cuts the encoder short (for timing); `observed`, a list that `linear` fills while the graph is built,
    become further outputs (for calibration). Raises ConfigError for missing tensors or unsupported variants.
    """
    plan = architecture(folder)
    ids, positions, places = (
        op.parameter([-1], np.int32, name=name) for name in ("ids", "positions", "places")
    )
    rows = op.parameter([-1, -1], np.int32, name="rows")
    mask = op.parameter([-1, -1], np.float32, name="mask")

    x = _embedded(tensors, plan, ids, positions)  # (tokens, width)
    attention_bias = _attention_bias(
        tensors, plan, mask, folder.max_tokens
    )  # (texts or 1, 1 or heads, 1 or S, S)
    for names in plan.layers[:layers]:
        split = axes(0, 0, plan.heads, -1)
        query, key, value = (
            op.transpose(op.reshape(op.gather(projected, rows, axes(0)), split, True), axes(0, 2, 1, 3))
            for projected in linear(tensors, x, [names.query, names.key, names.value])
        )  # each (texts, heads, S, head width)
        attended = op.scaled_dot_product_attention(query, key, value, attention_bias)
        width = tensors(f"{names.attended}.weight").shape[1]
        flat = op.reshape(op.transpose(attended, axes(0, 2, 1, 3)), axes(-1, width), False)
        (attended,) = linear(tensors, op.gather(flat, places, axes(0)), [names.attended])
        x = _norm(tensors, plan, op.add(x, attended), names.attention_norm)
        (up,) = linear(tensors, x, [names.up])
        (down,) = linear(tensors, _activated(up, plan.activation), [names.down])
        x = _norm(tensors, plan, op.add(x, down), names.output_norm)

    vector = finished(pooled(op.gather(x, rows, axes(0)), mask, folder.pooling), folder)
    return ov.Model([vector, *(observed or [])], [ids, positions, rows, places, mask], folder.name)


def onnx_graph(folder: ModelFolder) -> ov.Model:
    """An ONNX encoder with pooling, dense layers and normalisation behind it; runs padded.

    An output called sentence_embedding is taken as it is. Raises ConfigError when inputs or outputs are not known.
    """
    file = folder.weights[0]
    try:
        model = ov.Core().read_model(str(file))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(
            f"{file} cannot be read as ONNX ({reason}); export it again", param="embed.model"
        ) from error
    inputs = {node.get_friendly_name(): node for node in model.get_parameters()}
    unknown = set(inputs) - {"input_ids", "attention_mask", "token_type_ids"}
    if unknown or not {"input_ids", "attention_mask"} <= set(inputs):
        raise ConfigError(
            f"{file} has inputs {sorted(inputs)}; expected input_ids, attention_mask and perhaps token_type_ids",
            param="embed.model",
        )
    outputs = {name: output for output in model.outputs for name in output.get_names()}
    if "sentence_embedding" in outputs:
        return ov.Model(
            [outputs["sentence_embedding"].get_node().input_value(0)], list(inputs.values()), folder.name
        )
    hidden = outputs.get("last_hidden_state", outputs.get("token_embeddings"))
    if hidden is None:
        raise ConfigError(
            f"{file} has outputs {sorted(outputs)}; expected last_hidden_state, token_embeddings or sentence_embedding",
            param="embed.model",
        )
    mask = op.convert(inputs["attention_mask"], "f32")
    vector = finished(pooled(hidden.get_node().input_value(0), mask, folder.pooling), folder)
    return ov.Model([vector], list(inputs.values()), folder.name)


def pooled(hidden: Node, mask: Node, modes: Sequence[PoolingMode]) -> Node:
    """`hidden` (texts, S, width) and float `mask` (texts, S) to (texts, width x modes); twin: `pooling.pool`."""
    weight = op.unsqueeze(mask, axes(2))  # (texts, S, 1)
    count = op.reduce_sum(weight, axes(1), False)  # (texts, 1)
    vectors = []
    for mode in modes:
        match mode:
            case "cls":
                vectors.append(op.gather(hidden, constant(np.int64(0)), axes(1)))
            case "max":
                masked = op.multiply(op.subtract(constant(np.float32(1)), weight), constant(_MASKED))
                vectors.append(op.reduce_max(op.add(hidden, masked), axes(1), False))
            case "mean":
                vectors.append(op.divide(op.reduce_sum(op.multiply(hidden, weight), axes(1), False), count))
            case "mean_sqrt_len":
                vectors.append(
                    op.divide(op.reduce_sum(op.multiply(hidden, weight), axes(1), False), op.sqrt(count))
                )
            case "weighted_mean":
                place = op.cumsum(weight, constant(np.int64(1)))  # 1, 2, 3, ... over the tokens of a text
                linear = op.multiply(weight, place)
                total = op.reduce_sum(linear, axes(1), False)
                vectors.append(op.divide(op.reduce_sum(op.multiply(hidden, linear), axes(1), False), total))
            case "last":
                last = op.subtract(op.convert(count, "i64"), axes(1))  # (texts, 1)
                vectors.append(
                    op.squeeze(op.gather(hidden, last, constant(np.int64(1)), batch_dims=1), axes(1))
                )
    return vectors[0] if len(vectors) == 1 else op.concat(vectors, 1)


def finished(vector: Node, folder: ModelFolder) -> Node:
    """The folder's dense layers and normalisation; twin: `pooling.Head`."""
    for layer in folder.dense:
        weights = Weights([layer.weights])
        vector = op.matmul(vector, constant(weights["linear.weight"]), False, True)
        if "linear.bias" in weights:
            vector = op.add(vector, constant(weights["linear.bias"].reshape(1, -1)))
        match layer.activation:
            case "tanh":
                vector = op.tanh(vector)
            case "relu":
                vector = op.relu(vector)
            case "gelu":
                vector = op.gelu(vector, "erf")
    return op.normalize_l2(vector, axes(1), 1e-24, "max") if folder.normalize else vector


def _embedded(tensors: Tensors, plan: Architecture, ids: Node, positions: Node) -> Node:
    words = op.gather(constant(tensors("embeddings.word_embeddings.weight")), ids, axes(0))
    places = op.gather(constant(tensors("embeddings.position_embeddings.weight")), positions, axes(0))
    x = op.add(words, places)
    if plan.token_types:
        x = op.add(x, constant(tensors("embeddings.token_type_embeddings.weight")[:1]))
    return _norm(tensors, plan, x, "embeddings.LayerNorm")


def _attention_bias(tensors: Tensors, plan: Architecture, mask: Node, longest: int) -> Node:
    """What is added to the scores: a large negative number at padding, and MPNet's relative positions."""
    wide = op.unsqueeze(op.unsqueeze(mask, axes(1)), axes(1))  # (texts, 1, 1, S)
    added = op.multiply(op.subtract(constant(np.float32(1)), wide), constant(_MASKED))
    if not plan.relative_bias:
        return added
    table = tensors(f"{plan.relative_bias}.weight")  # (buckets, heads)
    by_distance = table[bucket_of(np.arange(1 - longest, longest), len(table))]  # (2 x longest - 1, heads)
    length = op.gather(op.shape_of(mask, "i64"), constant(np.int64(1)), constant(np.int64(0)))
    place = op.range(constant(np.int64(0)), length, constant(np.int64(1)), "i64")
    distance = op.subtract(
        op.unsqueeze(place, axes(0)), op.unsqueeze(place, axes(1))
    )  # key minus query (S, S)
    shifted = op.add(distance, constant(np.int64(longest - 1)))
    relative = op.transpose(
        op.gather(constant(by_distance), shifted, axes(0)), axes(2, 0, 1)
    )  # (heads, S, S)
    return op.add(added, op.unsqueeze(relative, axes(0)))


def _norm(tensors: Tensors, plan: Architecture, x: Node, name: str) -> Node:
    centred = op.mvn(x, axes(-1), True, plan.epsilon, "inside_sqrt")
    scaled = op.multiply(centred, constant(tensors(f"{name}.weight").reshape(1, -1)))
    return op.add(scaled, constant(tensors(f"{name}.bias").reshape(1, -1)))


def _activated(x: Node, activation: str) -> Node:
    match activation:
        case "relu":
            return op.relu(x)
        case "silu":
            return op.swish(x)
        case _:
            return op.gelu(x, activation)

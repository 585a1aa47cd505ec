"""Model folders small enough to make in a test: random weights, real files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from paceline.embed.folder import ModelFolder, open_folder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *[f"w{n}" for n in range(60)]]
WIDTH, HEADS, LAYERS, INNER, POSITIONS = 32, 4, 2, 64, 64

MakeFolder = Callable[..., Path]


def tiny_config(kind: str) -> dict[str, Any]:
    """config.json of a model type."""
    common = {
        "model_type": kind,
        "vocab_size": len(WORDS),
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
    }
    if kind == "distilbert":
        return common | {
            "dim": WIDTH,
            "n_heads": HEADS,
            "n_layers": LAYERS,
            "hidden_dim": INNER,
            "activation": "gelu",
        }
    if kind != "bert":
        common["pad_token_id"] = 1
    sizes = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS}
    return common | sizes | {"intermediate_size": INNER, "hidden_act": "gelu", "layer_norm_eps": 1e-12}


def layer_names(kind: str, n: int) -> tuple[list[str], list[str], list[str]]:
    """Linear layers of attention, norms, and linear layers behind them, of layer `n`."""
    layer = f"transformer.layer.{n}" if kind == "distilbert" else f"encoder.layer.{n}"
    if kind == "distilbert":
        attention = [f"{layer}.attention.{part}_lin" for part in ("q", "k", "v", "out")]
        return (
            attention,
            [f"{layer}.sa_layer_norm", f"{layer}.output_layer_norm"],
            [f"{layer}.ffn.lin1", f"{layer}.ffn.lin2"],
        )
    inner = [f"{layer}.intermediate.dense", f"{layer}.output.dense"]
    if kind == "mpnet":
        attention = [f"{layer}.attention.attn.{part}" for part in "qkvo"]
        return attention, [f"{layer}.attention.LayerNorm", f"{layer}.output.LayerNorm"], inner
    attention = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
    attention.append(f"{layer}.attention.output.dense")
    return attention, [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"], inner


def tiny_weights(kind: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Random tensors of a model type, named as its checkpoints name them."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}

    def add(name: str, *shape: int, mean: float = 0.0) -> None:
        weights[name] = (mean + rng.normal(0, 0.25, shape)).astype(np.float32)

    def linear(name: str, inputs: int, outputs: int) -> None:
        add(f"{name}.weight", outputs, inputs)
        add(f"{name}.bias", outputs)

    def norm(name: str) -> None:
        add(f"{name}.weight", WIDTH, mean=1.0)
        add(f"{name}.bias", WIDTH)

    add("embeddings.word_embeddings.weight", len(WORDS), WIDTH)
    add("embeddings.position_embeddings.weight", POSITIONS, WIDTH)
    if kind not in ("distilbert", "mpnet"):
        add("embeddings.token_type_embeddings.weight", 2, WIDTH)
    if kind == "mpnet":
        add("encoder.relative_attention_bias.weight", 32, HEADS)
    norm("embeddings.LayerNorm")
    for n in range(LAYERS):
        attention, norms, inner = layer_names(kind, n)
        for name in attention:
            linear(name, WIDTH, WIDTH)
        for name in norms:
            norm(name)
        linear(inner[0], WIDTH, INNER)
        linear(inner[1], INNER, WIDTH)
    return weights


def write_tokenizer(folder: Path) -> None:
    """One token a word, [CLS] and [SEP] around them."""
    tokenizer = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write a sentence-transformers folder: `make_folder("bert", pooling={...}, normalize=False, prefix="bert.")`."""

    def make(
        kind: str = "bert",
        *,
        pooling: dict[str, Any] | None = None,
        normalize: bool = True,
        prefix: str = "",
        weights: dict[str, np.ndarray] | None = None,
        window: int | None = None,
    ) -> Path:
        folder = tmp_path / f"tiny-{kind}"
        (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(tiny_config(kind)))
        (folder / "1_Pooling" / "config.json").write_text(
            json.dumps(pooling or {"pooling_mode_mean_tokens": True})
        )
        modules = [
            ("Transformer", ""),
            ("Pooling", "1_Pooling"),
            *([("Normalize", "2_Normalize")] if normalize else []),
        ]
        listed = [{"type": f"sentence_transformers.models.{name}", "path": path} for name, path in modules]
        (folder / "modules.json").write_text(json.dumps(listed))
        if window:
            (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": window}))
        named = {prefix + name: tensor for name, tensor in (weights or tiny_weights(kind)).items()}
        save_file(named, str(folder / "model.safetensors"))
        write_tokenizer(folder)
        return folder

    return make


@pytest.fixture
def onnx_folder(make_folder: MakeFolder) -> Path:
    """A folder whose "encoder" is tanh(table[ids] @ square), as model.onnx; the mask is an unused input of the graph."""
    folder = make_folder("bert", normalize=True)
    (folder / "model.safetensors").unlink()
    rng = np.random.default_rng(5)
    table = rng.normal(0, 0.5, (len(WORDS), WIDTH)).astype(np.float32)
    square = rng.normal(0, 0.3, (WIDTH, WIDTH)).astype(np.float32)
    shape = ["rows", "length"]
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["words"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "two"], ["wide"]),
            helper.make_node("Mul", ["words", "wide"], ["seen"]),
            helper.make_node("MatMul", ["seen", "square"], ["mixed"]),
            helper.make_node("Tanh", ["mixed"], ["last_hidden_state"]),
        ],
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, shape)
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, WIDTH])],
        [
            helper.make_tensor("table", TensorProto.FLOAT, table.shape, table.tobytes(), raw=True),
            helper.make_tensor("square", TensorProto.FLOAT, square.shape, square.tobytes(), raw=True),
            helper.make_tensor("two", TensorProto.INT64, [1], [2]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    return folder


@pytest.fixture
def ids() -> list[np.ndarray]:
    """Texts of 1 to 40 tokens."""
    rng = np.random.default_rng(7)
    return [rng.integers(4, len(WORDS), length).astype(np.int32) for length in (5, 1, 40, 17, 17, 2)]


@pytest.fixture(scope="session")
def minilm() -> ModelFolder:
    """all-MiniLM-L6-v2 from its installed package."""
    return open_folder("demo")

"""The graphs against plain numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from numpy_encoder import hidden_states, slow_bucket
from test_folder import add_dense
from tiny_models import MakeFolder, tiny_config, tiny_weights

from paceline.base.errors import ConfigError
from paceline.embed.architecture import Tensors, architecture, bucket_of
from paceline.embed.batch_inputs import ragged_inputs
from paceline.embed.folder import ARCHITECTURES, ModelFolder, open_folder
from paceline.embed.graph import onnx_graph, ragged_graph
from paceline.embed.layout import Layout
from paceline.embed.openvino_engine import OpenVinoEngine
from paceline.embed.pooling import Head, gelu, pool
from paceline.embed.tokens import Tokens
from paceline.embed.weights import Weights

FP32 = Layout(streams=1, threads=1, max_cost=256, bucket=8, precision="fp32")
MODES = ("cls", "max", "mean", "mean_sqrt_len", "weighted_mean", "last")


def vectors(folder: ModelFolder, batch: list[np.ndarray]) -> np.ndarray:
    return OpenVinoEngine(folder, FP32, Path("unused")).run(batch)


def twin(folder: ModelFolder, weights: dict[str, np.ndarray], batch: list[np.ndarray]) -> np.ndarray:
    head = Head(folder)
    rows = [hidden_states(folder.config, weights, ids)[None] for ids in batch]
    return np.concatenate([head(row, np.ones(row.shape[:2], np.int64)) for row in rows])


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_agrees_with_numpy(
    make_folder: MakeFolder, ids: list[np.ndarray], kind: str
) -> None:
    folder = open_folder(make_folder(kind))

    np.testing.assert_allclose(vectors(folder, ids), twin(folder, tiny_weights(kind), ids), atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_every_pooling_agrees_with_numpy(make_folder: MakeFolder, ids: list[np.ndarray], mode: str) -> None:
    folder = open_folder(make_folder(normalize=False), pooling=mode)

    np.testing.assert_allclose(vectors(folder, ids), twin(folder, tiny_weights("bert"), ids), atol=1e-4)


def test_several_poolings_and_dense_layers_agree_with_numpy(
    make_folder: MakeFolder, ids: list[np.ndarray]
) -> None:
    path = make_folder(pooling={"pooling_mode_mean_tokens": True})
    add_dense(path, out_features=8)
    folder = open_folder(path)
    np.testing.assert_allclose(vectors(folder, ids), twin(folder, tiny_weights("bert"), ids), atol=1e-4)

    both = open_folder(
        make_folder("roberta", pooling={"pooling_mode": ["cls", "max", "lasttoken"]}, normalize=False)
    )
    np.testing.assert_allclose(vectors(both, ids), twin(both, tiny_weights("roberta"), ids), atol=1e-4)


def test_pooling_ignores_padding() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(1, 4, 3)).astype(np.float32)
    padded = np.concatenate([hidden, np.full((1, 2, 3), 9.0, np.float32)], axis=1)

    for mode in MODES:
        found = pool(padded, np.array([[1, 1, 1, 1, 0, 0]]), [mode])
        np.testing.assert_allclose(found, pool(hidden, np.ones((1, 4), np.int64), [mode]), rtol=1e-6)


def test_gelu_by_series_is_gelu_by_the_error_function() -> None:
    x = np.linspace(-6, 6, 101)

    np.testing.assert_allclose(gelu(x), ov_gelu(x), atol=1e-6)


def ov_gelu(x: np.ndarray) -> np.ndarray:
    from openvino import opset13 as op

    given = op.parameter([-1], np.float32)
    compiled = ov.Core().compile_model(ov.Model([op.gelu(given, "erf")], [given], "gelu"), "CPU")
    return np.asarray(compiled([x.astype(np.float32)])[0])


def test_checkpoint_prefixes_and_old_norm_names_are_understood(
    make_folder: MakeFolder, ids: list[np.ndarray]
) -> None:
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in tiny_weights("bert").items()
    }
    plain = vectors(open_folder(make_folder()), ids)

    np.testing.assert_array_equal(vectors(open_folder(make_folder(prefix="bert.", weights=old)), ids), plain)


def test_a_text_does_not_see_its_neighbours(make_folder: MakeFolder, ids: list[np.ndarray]) -> None:
    folder = open_folder(make_folder())
    engine = OpenVinoEngine(folder, FP32, Path("unused"))

    together = engine.run(ids)

    np.testing.assert_allclose(together, np.concatenate([engine.run([one]) for one in ids]), atol=1e-5)


def test_minilm_agrees_with_numpy_and_knows_what_is_alike(minilm: ModelFolder) -> None:
    batch = [
        item.ids for item in Tokens(minilm).encode(["a small dog", "a little puppy", "the stock market fell"])
    ]

    found = vectors(minilm, batch)

    np.testing.assert_allclose(found, twin(minilm, dict(Weights(minilm.weights)), batch), atol=1e-4)
    assert found[0] @ found[1] > 0.6
    assert found[0] @ found[2] < 0.2


def test_ragged_inputs_go_to_the_rectangle_and_back() -> None:
    batch = [np.array([7, 8, 9], np.int32), np.array([5], np.int32)]

    ids, positions, rows, places, mask = ragged_inputs(batch, first_position=2, bucket=8)

    assert ids.tolist() == [7, 8, 9, 5, 0, 0, 0, 0]
    assert positions.tolist() == [2, 3, 4, 2, 0, 0, 0, 0]
    assert rows.tolist() == [[0, 1, 2], [3, 0, 0]]
    assert places.tolist() == [0, 1, 2, 3, 0, 0, 0, 0]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_relative_buckets_agree_with_the_formula() -> None:
    distances = np.arange(-300, 301)

    assert bucket_of(distances).tolist() == [slow_bucket(int(distance)) for distance in distances]


def test_a_missing_tensor_is_named(make_folder: MakeFolder) -> None:
    weights = tiny_weights("bert")
    del weights["encoder.layer.1.output.dense.weight"]
    folder = open_folder(make_folder(weights=weights))

    with pytest.raises(ConfigError, match=r"have no tensor encoder.layer.1.output.dense.weight"):
        ragged_graph(folder, Tensors(folder))


def test_weights_without_an_encoder_are_refused(make_folder: MakeFolder) -> None:
    folder = open_folder(make_folder(weights={"lonely": np.zeros(3, np.float32)}))

    with pytest.raises(ConfigError, match=r"has no tensor embeddings.word_embeddings.weight"):
        Tensors(folder)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "position_embedding_type",
            "relative_key",
            r"position_embedding_type 'relative_key' is not supported",
        ),
        ("hidden_act", "mish", r"activation 'mish' is not supported"),
    ],
)
def test_variants_we_would_compute_wrongly_are_refused(
    make_folder: MakeFolder, field: str, value: str, message: str
) -> None:
    import msgspec

    folder = open_folder(make_folder())
    odd = msgspec.structs.replace(folder, config=tiny_config("bert") | {field: value})

    with pytest.raises(ConfigError, match=message):
        architecture(odd)


def test_a_file_that_is_not_onnx_is_refused(onnx_folder: Path) -> None:
    (onnx_folder / "model.onnx").write_bytes(b"nonsense")

    with pytest.raises(ConfigError, match=r"model.onnx cannot be read as ONNX"):
        onnx_graph(open_folder(onnx_folder))

"""Engines, opened as the server opens them."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_models import WIDTH, MakeFolder

from paceline.base.errors import ConfigError, EngineError
from paceline.embed.batch_inputs import padded_inputs
from paceline.embed.engine import open_engine
from paceline.embed.folder import open_folder
from paceline.embed.layout import Layout
from paceline.embed.policy import EmbedPolicy
from paceline.embed.pooling import Head

TWO = Layout(streams=2, threads=2, max_cost=128, bucket=8, precision="fp32")


def test_an_engine_lays_itself_out_once(
    make_folder: MakeFolder, tmp_path: Path, ids: list[np.ndarray]
) -> None:
    folder = open_folder(make_folder())
    policy = EmbedPolicy(threads=2)
    first = open_engine(policy, folder, state_dir=tmp_path / "state")
    again = open_engine(policy, folder, state_dir=tmp_path / "state")

    assert first.layout == again.layout
    assert first.layout.rates != {}
    assert first.run(ids).shape == (len(ids), WIDTH) == (len(ids), first.dimensions)
    assert first.lanes == first.layout.streams
    assert first.describe()["max_cost"] == first.layout.max_cost


def test_vectors_have_length_one_only_when_the_folder_says_so(
    make_folder: MakeFolder, tmp_path: Path, ids
) -> None:
    unit = open_engine(EmbedPolicy(), open_folder(make_folder(normalize=True)), TWO, state_dir=tmp_path).run(
        ids
    )
    free = open_engine(EmbedPolicy(), open_folder(make_folder(normalize=False)), TWO, state_dir=tmp_path).run(
        ids
    )

    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
    assert np.abs(np.linalg.norm(free, axis=1) - 1).min() > 0.1


def test_more_threads_than_lanes_take_turns(
    make_folder: MakeFolder, tmp_path: Path, ids: list[np.ndarray]
) -> None:
    engine = open_engine(EmbedPolicy(), open_folder(make_folder()), TWO, state_dir=tmp_path)
    alone = [engine.run([one]) for one in ids]

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda one: engine.run([one]), ids * 20))

    for vector, expected in zip(found, alone * 20, strict=True):
        np.testing.assert_array_equal(vector, expected)


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
def test_a_closed_engine_says_so(onnx_folder: Path, tmp_path: Path, ids: list[np.ndarray], kind: str) -> None:
    engine = open_engine(EmbedPolicy(engine=kind), open_folder(onnx_folder), TWO, state_dir=tmp_path)
    engine.close()

    for _ in range(3):
        with pytest.raises(EngineError, match="the engine is closed"):
            engine.run(ids)


def test_openvino_and_onnxruntime_agree_with_numpy_on_an_onnx_folder(
    onnx_folder: Path, tmp_path: Path, ids
) -> None:
    folder = open_folder(onnx_folder)
    model = onnx.load(str(onnx_folder / "model.onnx"))
    table, square = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer[:2])
    head = Head(folder)
    expected = np.concatenate(
        [head(np.tanh(table[one] @ square)[None], np.ones((1, len(one)), np.int64)) for one in ids]
    )

    for kind in ("openvino", "onnxruntime"):
        engine = open_engine(EmbedPolicy(engine=kind, precision="fp32"), folder, state_dir=tmp_path)
        np.testing.assert_allclose(engine.run(ids), expected, atol=1e-5)
        assert (engine.name, engine.describe()["precision"]) == (kind, "fp32")


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
def test_an_output_named_sentence_embedding_is_taken_as_it_is(
    onnx_folder: Path, tmp_path: Path, ids, kind: str
) -> None:
    file = onnx_folder / "model.onnx"
    model = onnx.load(str(file))
    model.graph.node.append(
        onnx.helper.make_node(
            "ReduceMax", ["last_hidden_state"], ["sentence_embedding"], axes=[1], keepdims=0
        )
    )
    output = onnx.helper.make_tensor_value_info("sentence_embedding", onnx.TensorProto.FLOAT, ["rows", WIDTH])
    model.graph.output.append(output)
    onnx.save(model, str(file))
    folder = open_folder(onnx_folder)

    found = open_engine(EmbedPolicy(engine=kind), folder, TWO, state_dir=tmp_path).run([ids[0]])

    assert found.shape == (1, WIDTH)
    assert abs(np.linalg.norm(found) - 1) > 0.1


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("last_hidden_state", "logits", r"outputs \['logits'\]"),
        ("attention_mask", "past", r"inputs \['input_ids', 'past'\]"),
    ],
)
def test_onnx_with_unknown_names_is_refused(
    onnx_folder: Path, tmp_path: Path, kind, old, new, message
) -> None:
    file = onnx_folder / "model.onnx"
    model = onnx.load(str(file))
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    for value in [*model.graph.input, *model.graph.output]:
        value.name = new if value.name == old else value.name
    onnx.save(model, str(file))

    with pytest.raises(ConfigError, match=message):
        open_engine(EmbedPolicy(engine=kind), open_folder(onnx_folder), TWO, state_dir=tmp_path)


def test_padded_inputs_stay_inside_the_window() -> None:
    inputs = padded_inputs([np.array([1, 2, 3], np.int32), np.array([4], np.int32)], bucket=8, max_tokens=5)

    assert inputs["input_ids"].tolist() == [[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]


def test_onnxruntime_refuses_what_it_does_not_offer(
    make_folder: MakeFolder, onnx_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError, match=r"embed.precision = int8 is not offered by embed.engine = onnxruntime"
    ):
        open_engine(
            EmbedPolicy(engine="onnxruntime", precision="int8"), open_folder(onnx_folder), state_dir=tmp_path
        )
    with pytest.raises(ConfigError, match=r"embed.precision = int8 needs safetensors"):
        open_engine(EmbedPolicy(precision="int8"), open_folder(onnx_folder), state_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"embed.engine = onnxruntime needs ONNX"):
        open_engine(EmbedPolicy(engine="onnxruntime"), open_folder(make_folder("mpnet")), state_dir=tmp_path)


def test_a_missing_package_names_the_command(
    onnx_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "paceline.embed.onnxruntime_engine", raising=False)

    with pytest.raises(ConfigError, match=r"pip install 'paceline\[onnxruntime\]'"):
        open_engine(EmbedPolicy(engine="onnxruntime"), open_folder(onnx_folder), state_dir=tmp_path)

"""Model folders: what is read from them, and what is said when something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_models import POSITIONS, WIDTH, MakeFolder, tiny_weights

from paceline.base.errors import ConfigError
from paceline.embed.folder import ModelFolder, open_folder


def test_the_demo_model_says_what_it_is(minilm: ModelFolder) -> None:
    assert (minilm.name, minilm.dimensions, minilm.max_tokens) == ("all-MiniLM-L6-v2", 384, 256)
    assert (minilm.pooling, minilm.normalize, minilm.is_onnx) == (("mean",), True, False)


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, ("max", "mean")),
        ({"pooling_mode": "lasttoken"}, ("last",)),
        ({"pooling_mode": ["cls", "weightedmean"]}, ("cls", "weighted_mean")),
    ],
)
def test_pooling_comes_from_the_folder(
    make_folder: MakeFolder, config: dict[str, object], modes: tuple[str, ...]
) -> None:
    folder = open_folder(make_folder(pooling=config))

    assert folder.pooling == modes
    assert folder.dimensions == WIDTH * len(modes)


def test_the_policy_overrides_pooling_and_window(make_folder: MakeFolder) -> None:
    folder = open_folder(make_folder(window=20), pooling="cls", max_tokens=30)

    assert (folder.pooling, folder.max_tokens) == (("cls",), 30)


def test_window_is_the_smaller_of_sentence_config_and_positions(make_folder: MakeFolder) -> None:
    assert open_folder(make_folder(window=20)).max_tokens == 20
    assert open_folder(make_folder("roberta")).max_tokens == POSITIONS - 2


def test_a_bare_transformer_is_mean_pooled_and_not_normalised(make_folder: MakeFolder) -> None:
    path = make_folder()
    (path / "modules.json").unlink()

    folder = open_folder(path)

    assert (folder.pooling, folder.normalize) == (("mean",), False)


def test_dense_modules_set_the_dimensions(make_folder: MakeFolder) -> None:
    path = make_folder()
    add_dense(path, out_features=8)

    assert open_folder(path).dimensions == 8


def test_sharded_weights_are_found(make_folder: MakeFolder) -> None:
    path = make_folder()
    weights = tiny_weights("bert")
    (path / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: weights[name] for name in held}, str(path / shard))
    index = {"weight_map": {name: shard for shard, held in shards.items() for name in held}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))

    assert [file.name for file in open_folder(path).weights] == ["a.safetensors", "b.safetensors"]

    (path / "b.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"index.json names \['b.safetensors'\] files that are not there"):
        open_folder(path)


def test_digest_changes_with_one_weight_and_with_pooling(make_folder: MakeFolder) -> None:
    before = open_folder(make_folder())
    weights = tiny_weights("bert")
    weights["encoder.layer.1.output.dense.bias"][3] += 1e-3
    after = open_folder(make_folder(weights=weights))

    assert len({before.digest, after.digest, open_folder(before.path, pooling="cls").digest}) == 3
    assert open_folder(make_folder()).digest == before.digest


def remove(name: str):
    return lambda path: (path / name).unlink()


def write(name: str, text: str):
    return lambda path: (path / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("config.json"), r"config.json is missing"),
        (write("config.json", "{"), r"config.json cannot be read"),
        (write("config.json", '{"model_type": "llama"}'), r"'llama' is not supported from safetensors"),
        (write("config.json", '{"model_type": "bert"}'), r"has no hidden_size"),
        (remove("tokenizer.json"), r"tokenizer.json is missing"),
        (remove("model.safetensors"), r"has neither model.safetensors nor model.onnx"),
        (remove("1_Pooling/config.json"), r"1_Pooling/config.json is missing"),
        (write("1_Pooling/config.json", '{"pooling_mode": "sum"}'), r"names no pooling mode that is known"),
        (
            write("modules.json", '[{"type": "x.models.CNN", "path": "c"}]'),
            r"module 'x.models.CNN' is not supported",
        ),
        (
            write(
                "modules.json", '[{"type": "a.Normalize", "path": ""}, {"type": "a.Transformer", "path": ""}]'
            ),
            r"modules come in an unsupported order",
        ),
    ],
)
def test_a_damaged_folder_is_refused_by_name(make_folder: MakeFolder, damage, message: str) -> None:
    path = make_folder()
    damage(path)

    with pytest.raises(ConfigError, match=message) as refused:
        open_folder(path)

    assert str(path) in str(refused.value)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere does not exist; set embed.model to a folder"):
        open_folder(tmp_path / "nowhere")


def test_more_tokens_than_positions_are_refused(make_folder: MakeFolder) -> None:
    with pytest.raises(ConfigError, match=r"embed.max_tokens = 65 is more than the 64 positions"):
        open_folder(make_folder(), max_tokens=65)


def add_dense(path: Path, out_features: int, activation: str = "torch.nn.modules.activation.Tanh") -> None:
    """Put a Dense module between pooling and normalisation."""
    rng = np.random.default_rng(3)
    (path / "2_Dense").mkdir()
    settings = {
        "in_features": WIDTH,
        "out_features": out_features,
        "bias": True,
        "activation_function": activation,
    }
    (path / "2_Dense" / "config.json").write_text(json.dumps(settings))
    tensors = {
        "linear.weight": rng.normal(0, 0.3, (out_features, WIDTH)).astype(np.float32),
        "linear.bias": rng.normal(0, 0.3, out_features).astype(np.float32),
    }
    save_file(tensors, str(path / "2_Dense" / "model.safetensors"))
    modules = json.loads((path / "modules.json").read_text())
    modules.insert(2, {"type": "sentence_transformers.models.Dense", "path": "2_Dense"})
    (path / "modules.json").write_text(json.dumps(modules))


def test_dense_with_an_unknown_activation_or_pickled_weights_is_refused(make_folder: MakeFolder) -> None:
    path = make_folder()
    add_dense(path, 8, activation="torch.nn.modules.activation.ELU")
    with pytest.raises(ConfigError, match=r"activation 'elu' is not supported"):
        open_folder(path)

    (path / "2_Dense" / "config.json").write_text('{"out_features": 8}')
    (path / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"save the Dense module as safetensors"):
        open_folder(path)

"""Memory-mapped weights: one file or several, whole or not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from little_checkpoints import write_checkpoint, write_index, write_raw
from safetensors.numpy import load_file, save_file

from paceline.base.errors import ConfigError
from paceline.generate.checkpoint import Checkpoint, expected_shapes

EMBEDDING = "model.embed_tokens.weight"


@pytest.mark.parametrize("shards", [1, 3])
def test_tensors_come_as_they_were_written(tmp_path: Path, shards: int) -> None:
    """From one file or from shards, views in their own type and copies in float32."""
    tensors = write_checkpoint(tmp_path, shards)

    checkpoint = Checkpoint.open(tmp_path)

    assert sorted(checkpoint.names) == sorted(tensors)
    for name, tensor in tensors.items():
        assert checkpoint.get(name).dtype == "F32"
        np.testing.assert_array_equal(checkpoint.get(name).data, tensor)
        np.testing.assert_array_equal(checkpoint.float32(name), tensor)


def test_nothing_is_copied(tmp_path: Path) -> None:
    """Two views of a tensor are the same memory, and a float32 copy is not."""
    write_checkpoint(tmp_path)
    checkpoint = Checkpoint.open(tmp_path)
    first, second = checkpoint.get(EMBEDDING).data, checkpoint.get(EMBEDDING).data

    assert np.shares_memory(first, second)
    assert not np.shares_memory(first, checkpoint.float32(EMBEDDING))


def test_half_types_are_widened_exactly(tmp_path: Path) -> None:
    """bf16 is the upper half of a float32; numpy shows it as uint16."""
    tensors = write_checkpoint(tmp_path)
    header: dict[str, Any] = {}
    numbers = b""
    for name, tensor in tensors.items():
        raw = (tensor.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        header[name] = {
            "dtype": "BF16",
            "shape": tensor.shape,
            "data_offsets": [len(numbers), len(numbers) + len(raw)],
        }
        numbers += raw
    write_raw(tmp_path / "model.safetensors", header, numbers)
    checkpoint = Checkpoint.open(tmp_path)
    expected = (tensors[EMBEDDING].view(np.uint32) & 0xFFFF0000).view(np.float32)

    assert checkpoint.get(EMBEDDING).dtype == "BF16"
    assert checkpoint.get(EMBEDDING).data.dtype == np.uint16
    np.testing.assert_array_equal(checkpoint.float32(EMBEDDING), expected)


def test_float16(tmp_path: Path) -> None:
    """The third type that is read."""
    tensors = {name: tensor.astype(np.float16) for name, tensor in write_checkpoint(tmp_path).items()}
    save_file(tensors, str(tmp_path / "model.safetensors"))
    checkpoint = Checkpoint.open(tmp_path)

    assert checkpoint.get(EMBEDDING).dtype == "F16"
    np.testing.assert_array_equal(checkpoint.float32(EMBEDDING), tensors[EMBEDDING].astype(np.float32))


def test_values_survive_being_forgotten(tmp_path: Path) -> None:
    """Pages are read again when touched."""
    tensors = write_checkpoint(tmp_path)
    checkpoint = Checkpoint.open(tmp_path)
    view = checkpoint.get(EMBEDDING).data

    checkpoint.forget()

    np.testing.assert_array_equal(view, tensors[EMBEDDING])


def test_the_digest_is_of_the_weights(tmp_path: Path) -> None:
    """The same numbers elsewhere and later have the same one; others do not."""
    write_checkpoint(tmp_path / "a")
    write_checkpoint(tmp_path / "b")
    write_checkpoint(tmp_path / "c", seed=1)
    os.utime(tmp_path / "b" / "model.safetensors", (1, 1))
    a, b, c = (Checkpoint.open(tmp_path / name).digest for name in "abc")

    assert a == b
    assert a != c
    assert len(a) == 32


def test_a_tied_output_layer_has_no_tensor(tmp_path: Path) -> None:
    """The embedding table serves for both."""
    write_checkpoint(tmp_path, tie_word_embeddings=True)

    assert "lm_head.weight" not in expected_shapes(Checkpoint.open(tmp_path).config)


def test_other_tensors_are_ignored(tmp_path: Path) -> None:
    """Old checkpoints store rotary tables, in types that we do not read."""
    tensors = write_checkpoint(tmp_path)
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.arange(4)}
    save_file(tensors | extra, str(tmp_path / "model.safetensors"))

    assert Checkpoint.open(tmp_path).config.layers == 2


def test_a_missing_tensor(tmp_path: Path) -> None:
    """It is named, not found missing in the first step."""
    tensors = write_checkpoint(tmp_path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, str(tmp_path / "model.safetensors"))

    with pytest.raises(
        ConfigError, match=r"no tensor model.layers.1.mlp.up_proj.weight, which config.json implies"
    ):
        Checkpoint.open(tmp_path)


def test_a_tensor_of_another_shape(tmp_path: Path) -> None:
    """Both shapes are said."""
    write_checkpoint(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 100}))

    with pytest.raises(ConfigError, match=r"has shape \[96, 64\], config.json implies \[100, 64\]"):
        Checkpoint.open(tmp_path)


def test_a_tensor_of_a_type_we_do_not_read(tmp_path: Path) -> None:
    """Quantised checkpoints of others are refused with what to take instead."""
    tensors = write_checkpoint(tmp_path)
    tensors[EMBEDDING] = tensors[EMBEDDING].astype(np.int8)
    save_file(tensors, str(tmp_path / "model.safetensors"))

    with pytest.raises(
        ConfigError, match=r"has type I8 .F32, F16, BF16 are supported.; take the model's unquantised"
    ):
        Checkpoint.open(tmp_path)


def test_a_file_cut_short(tmp_path: Path) -> None:
    """A download that ended early: both sizes are said."""
    write_checkpoint(tmp_path)
    file = tmp_path / "model.safetensors"
    size = file.stat().st_size
    os.truncate(file, size - 4)

    with pytest.raises(
        ConfigError, match=rf"has {size - 4} bytes but tensor .* ends at byte {size}; the file is cut"
    ):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"what is this? no safetensors", "its header alone should end at byte"),
        (b"\x05\0\0\0\0\0\0\0[1,2]", "is not a safetensors file"),
    ],
)
def test_what_is_not_safetensors(tmp_path: Path, content: bytes, message: str) -> None:
    """Empty, text, or a header that is none."""
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F32", "shape": [3]}, "entry of tensor x is malformed"),
        (
            {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
            r"shape \[3\] needs 12 bytes, the header gives it 8",
        ),
        ({"dtype": "F32", "shape": [-3], "data_offsets": [0, -12]}, "needs -12 bytes"),
        ({"dtype": "F32", "shape": [1 << 62, 4], "data_offsets": [0, 0]}, "needs 73786976294838206464 bytes"),
    ],
)
def test_a_header_that_lies(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    """No view may leave the file."""
    write_checkpoint(tmp_path)
    write_raw(tmp_path / "model.safetensors", {"x": entry}, bytes(16))

    with pytest.raises(ConfigError, match=message):
        Checkpoint.open(tmp_path)


def test_no_weights_at_all(tmp_path: Path) -> None:
    """A pickle beside it is named, and why it is not opened."""
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")

    with pytest.raises(
        ConfigError, match=r"neither model.safetensors nor .* .pytorch_model.bin is a pickle.*save_pretrained"
    ):
        Checkpoint.open(tmp_path)


def test_a_missing_shard(tmp_path: Path) -> None:
    """The index names a file that is not there."""
    write_checkpoint(tmp_path, shards=2)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()

    with pytest.raises(
        ConfigError, match=r"places tensor .* in model-00002-of-00002.safetensors, which is not in .*; copy"
    ):
        Checkpoint.open(tmp_path)


def test_a_shard_of_another_model(tmp_path: Path) -> None:
    """The index places a tensor where it is not."""
    write_checkpoint(tmp_path, shards=2)
    first = tmp_path / "model-00001-of-00002.safetensors"
    tensors = load_file(str(first))
    tensors.pop(EMBEDDING)
    save_file(tensors, str(first))

    with pytest.raises(ConfigError, match=rf"has no tensor {EMBEDDING}, which .*index.json places there"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize(
    ("placed", "message"),
    [
        ({}, "lists no tensors"),
        ({"x": 7}, "in 7, which is not the name of a file in its folder"),
        ({"x": "../elsewhere.safetensors"}, "'../elsewhere.safetensors', which is not the name of a file"),
    ],
)
def test_an_index_that_is_none(tmp_path: Path, placed: dict[str, Any], message: str) -> None:
    """Nor may it lead out of the folder."""
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    write_index(tmp_path, placed)

    with pytest.raises(ConfigError, match=message):
        Checkpoint.open(tmp_path)

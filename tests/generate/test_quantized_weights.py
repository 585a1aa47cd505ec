"""Quantised once, mapped from disk ever after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from little_checkpoints import write_checkpoint

from paceline.base.errors import ConfigError
from paceline.generate.checkpoint import Checkpoint
from paceline.generate.quantize import quantize_groups, quantize_rows
from paceline.generate.quantized_weights import linear_names, quantized_weights

DOWN = "model.layers.1.mlp.down_proj.weight"
UP = "model.layers.0.mlp.up_proj.weight"


def the_file(state_dir: Path) -> Path:
    """The one that was written."""
    (found,) = (state_dir / "generate").glob("*/weights.safetensors")
    return found


def test_int8_is_what_quantize_rows_makes(tmp_path: Path) -> None:
    """Of every linear layer and of the output layer."""
    tensors = write_checkpoint(tmp_path / "model")
    checkpoint = Checkpoint.open(tmp_path / "model")
    weights = quantized_weights(checkpoint, "int8", tmp_path)

    assert len(list(linear_names(checkpoint))) == 2 * 7 + 1
    for name in linear_names(checkpoint):
        codes, scales = quantize_rows(tensors[name])
        np.testing.assert_array_equal(weights.int8(name)[0], codes)
        np.testing.assert_array_equal(weights.int8(name)[1], scales)


def test_int4_keeps_what_it_must_in_int8(tmp_path: Path) -> None:
    """Two codes a byte; the output layer decides between tokens and stays finer."""
    tensors = write_checkpoint(tmp_path / "model", tie_word_embeddings=True)
    weights = quantized_weights(Checkpoint.open(tmp_path / "model"), "int4", tmp_path)

    assert weights.is_int4(DOWN)
    assert not weights.is_int4("model.embed_tokens.weight")
    for name, group in ((DOWN, 32), (UP, 64)):
        for stored, made in zip(weights.int4(name), quantize_groups(tensors[name], group), strict=True):
            np.testing.assert_array_equal(stored, made)


def test_a_second_start_reads_the_file(tmp_path: Path) -> None:
    """It is not written again."""
    write_checkpoint(tmp_path / "model")
    checkpoint = Checkpoint.open(tmp_path / "model")
    first = quantized_weights(checkpoint, "int8", tmp_path)
    before = the_file(tmp_path).stat().st_mtime_ns, the_file(tmp_path).stat().st_ino

    second = quantized_weights(checkpoint, "int8", tmp_path)

    assert (the_file(tmp_path).stat().st_mtime_ns, the_file(tmp_path).stat().st_ino) == before
    np.testing.assert_array_equal(second.int8(UP)[0], first.int8(UP)[0])


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty", "other format"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: str) -> None:
    """Whatever happened to it while nobody looked."""
    write_checkpoint(tmp_path / "model")
    checkpoint = Checkpoint.open(tmp_path / "model")
    quantized_weights(checkpoint, "int8", tmp_path)
    file = the_file(tmp_path)
    whole = file.read_bytes()
    damaged = {
        "torn": whole[: len(whole) // 2],
        "flipped": whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:],
        "empty": b"",
        "other format": whole.replace(b'"format":"1"', b'"format":"0"'),
    }[damage]
    file.write_bytes(damaged)

    quantized_weights(checkpoint, "int8", tmp_path)

    assert file.read_bytes() == whole
    assert [path.name for path in file.parent.iterdir()] == ["weights.safetensors"]


def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Is named in the refusal."""
    write_checkpoint(tmp_path / "model")
    (tmp_path / "generate").write_text("a file where the folder should be")

    with pytest.raises(
        ConfigError, match=r"weights.safetensors cannot be written .*; make its folder writeable"
    ):
        quantized_weights(Checkpoint.open(tmp_path / "model"), "int8", tmp_path)

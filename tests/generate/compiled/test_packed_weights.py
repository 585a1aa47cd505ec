"""Packed weights on disk."""

import numpy as np
import pytest
from little_checkpoints import write_checkpoint

from paceline.base.errors import ConfigError
from paceline.generate.checkpoint import Checkpoint
from paceline.generate.compiled.packed_weights import packed_weights
from paceline.generate.compiled.packing import panels_of
from paceline.generate.compiled.tiles import PANEL


@pytest.fixture
def checkpoint(tmp_path):
    write_checkpoint(tmp_path / "model")
    return Checkpoint.open(tmp_path / "model")


def packed_file(state_dir):
    (path,) = (state_dir / "generate").iterdir()
    return path


def test_a_panel_holds_four_bytes_of_each_column_then_the_next_four():
    """And zeros for columns that are missing."""
    matrix = np.arange(33 * 8, dtype=np.uint8).reshape(33, 8)
    panels = panels_of(matrix).reshape(2, 2, PANEL, 4)

    assert np.array_equal(panels[0, 1, 5], matrix[5, 4:])
    assert np.array_equal(panels[1, 0, 0], matrix[32, :4])
    assert not panels[1, :, 1:].any()


def test_weights_are_packed_once(checkpoint, tmp_path):
    """The second start maps the file that the first one wrote; numbers begin on lines of the cache."""
    first = packed_weights(checkpoint, "int8", tmp_path)
    written = packed_file(tmp_path).stat()
    second = packed_weights(checkpoint, "int8", tmp_path)

    assert packed_file(tmp_path).stat() == written
    assert first.nbytes == second.nbytes
    assert second.address("0.qkv") % 64 == 0
    assert second.address("0.qkv_bias") == 0


@pytest.mark.parametrize("harm", ["cut", "changed", "old"])
def test_a_damaged_file_is_made_again(harm, checkpoint, tmp_path):
    """Cut short, a bit changed, or of another layout."""
    packed_weights(checkpoint, "bf16", tmp_path)
    path = packed_file(tmp_path)
    content = path.read_bytes()
    broken = {
        "cut": content[:-1],
        "changed": content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
        "old": content.replace(b'"layout":"1"', b'"layout":"0"'),
    }[harm]
    path.unlink()
    path.write_bytes(broken)
    packed_weights(checkpoint, "bf16", tmp_path)

    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written_is_named(checkpoint, tmp_path):
    """With the way out."""
    (tmp_path / "generate").write_text("in the way")
    with pytest.raises(ConfigError, match="make its folder writeable"):
        packed_weights(checkpoint, "fp32", tmp_path)

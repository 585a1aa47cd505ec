"""Memory-mapped tensors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from paceline.base.errors import ConfigError
from paceline.embed.weights import Weights

ROW = np.array([[1.5, -2.0, 0.25]], np.float32)


def test_floats_come_as_float32_and_integers_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    tensors = {"full": ROW, "half": ROW.astype(np.float16), "bytes": np.array([-3, 7], np.int8)}
    save_file(tensors, str(file), metadata={"made": "here"})

    weights = Weights([file])

    assert sorted(weights) == ["bytes", "full", "half"]
    assert weights["half"].dtype == np.float32
    np.testing.assert_array_equal(weights["half"], ROW)
    np.testing.assert_array_equal(weights["full"], ROW)
    np.testing.assert_array_equal(weights["bytes"], tensors["bytes"])
    assert weights.metadata == {"made": "here"}


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    raw = (ROW.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    write_raw(file, {"x": {"dtype": "BF16", "shape": [1, 3], "data_offsets": [0, 6]}}, raw)

    np.testing.assert_array_equal(Weights([file])["x"], ROW)


def test_values_survive_being_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"x": ROW}, str(file))
    weights = Weights([file])
    view = weights["x"]

    weights.forget()

    np.testing.assert_array_equal(view, ROW)


@pytest.mark.parametrize("content", [b"", b"not a safetensors file at all", b"\x05\0\0\0\0\0\0\0[1,2]"])
def test_what_is_not_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"w.safetensors (cannot be read|is not a safetensors file)"):
        Weights([file])


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"x": np.zeros(100, np.float32)}, str(file))
    file.write_bytes(file.read_bytes()[:-4])

    with pytest.raises(ConfigError, match=r"the file is cut short, copy it again"):
        Weights([file])


def test_an_unknown_type_is_refused_when_read(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    write_raw(file, {"x": {"dtype": "F8_E4M3", "shape": [3], "data_offsets": [0, 3]}}, b"abc")

    with pytest.raises(ConfigError, match=r"tensor x has type F8_E4M3"):
        Weights([file])["x"]


def write_raw(file: Path, header: dict[str, object], content: bytes) -> None:
    """A safetensors file with types that numpy does not have."""
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content)

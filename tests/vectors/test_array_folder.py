"""Arrays in a folder come back as they were written, or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.base.errors import StorageDamaged
from paceline.vectors.array_folder import check_arrays, map_arrays, write_arrays


@settings(max_examples=50, deadline=None)
@given(
    kind=st.sampled_from(["u1", "b1", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]),
    shape=st.lists(st.integers(0, 7), min_size=1, max_size=3),
)
def test_arrays_of_any_kind_and_shape_are_mapped_as_they_were(kind: str, shape: list[int]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    with tempfile.TemporaryDirectory() as folder:
        files = write_arrays(Path(folder), {"one": array})

        check_arrays(Path(folder), files)
        mapped = map_arrays(Path(folder), files, scattered=("one",))["one"]

        np.testing.assert_array_equal(mapped, array)
        np.testing.assert_array_equal(np.load(Path(folder) / "one.npy"), array)
        assert (mapped.dtype, mapped.shape) == (array.dtype, array.shape)


@pytest.mark.parametrize("at", [0, 8, 12, 30, 60])
def test_a_header_that_was_changed_is_told(tmp_path: Path, at: int) -> None:
    files = write_arrays(tmp_path, {"one": np.arange(10)})
    content = bytearray((tmp_path / "one.npy").read_bytes())
    content[at] ^= 0x55
    (tmp_path / "one.npy").write_bytes(content)

    with pytest.raises(StorageDamaged, match=r"one\.npy"):
        check_arrays(tmp_path, files)
    if at:  # the file's first bytes are for others
        with pytest.raises(StorageDamaged, match="restore it from a snapshot"):
            map_arrays(tmp_path, files)

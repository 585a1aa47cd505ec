"""What was tuned is found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from paceline.base.errors import StorageDamaged
from paceline.vectors.kept_recall import FILE, KeptRecall
from paceline.vectors.recall_watch import Promise


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    """None where nothing was tuned."""
    kept = KeptRecall(Promise(0.97, 20, 0.9, "space"), 64, 24)
    assert KeptRecall.read(tmp_path) is None

    kept.write(tmp_path)

    assert KeptRecall.read(tmp_path) == kept


@pytest.mark.parametrize("content", [b"", b"{}", b'{"ef": "many"}', b"\xff"])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    """With what to do."""
    (tmp_path / FILE).write_bytes(content)

    with pytest.raises(StorageDamaged, match="delete it and tune again"):
        KeptRecall.read(tmp_path)

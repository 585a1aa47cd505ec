"""A collection is known by an identity that no other content has had."""

from __future__ import annotations

from pathlib import Path

from paceline.vectors.identity import leave_identity, take_identity


def test_it_is_kept_from_one_opening_to_the_next(tmp_path: Path) -> None:
    """If it was left in between: after a crash it is another, as writes may be lost that were seen."""
    first = take_identity(tmp_path)
    leave_identity(tmp_path, first)

    assert take_identity(tmp_path) == first
    assert take_identity(tmp_path) != first


def test_a_damaged_one_is_none(tmp_path: Path) -> None:
    """Half a file names nothing."""
    (tmp_path / "identity").write_text("abc")

    assert len(take_identity(tmp_path)) == 32

"""The knob files of docs/guides/tune-any-server.md can be read, and fit the commands beside them."""

import re
from pathlib import Path

import pytest

from paceline.tune.command import Command
from paceline.tune.knob_file import read_knob_file

GUIDE = (Path(__file__).parents[2] / "docs/guides/tune-any-server.md").read_text()
FOREIGN = re.findall(r'\*\*(\S+)\*\*: `--launch "([^`]*)"`\n\n```toml\n(.*?)```', GUIDE, flags=re.DOTALL)


def test_the_guide_has_three_foreign_servers():
    """So that the test below has something to test."""
    assert [name for name, _, _ in FOREIGN] == ["vLLM", "TEI", "llama.cpp"]


@pytest.mark.parametrize(
    ("command", "knobs"), [case[1:] for case in FOREIGN], ids=[case[0] for case in FOREIGN]
)
def test_knobs_and_command_fit(tmp_path, command, knobs):
    """Every knob has its place and every place its knob."""
    file = tmp_path / "knobs.toml"
    file.write_text(knobs)
    read = read_knob_file(file)

    words = Command(" ".join(command.split()), read, 8000).render({}, tmp_path)

    assert "8000" in words
    assert not [word for word in words if "{" in word]

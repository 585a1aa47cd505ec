"""What docs/guides/tune.md shows can be typed: files that can be read, options that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paceline.cli import run
from paceline.measure.slo import read_slo
from paceline.settings import iter_knobs
from paceline.tune.command import Command
from paceline.tune.knob_file import read_knob_file

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/tune.md").read_text()
README = (ROOT / "README.md").read_text()
TOML = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)


def commands(text):
    """Each command of a code block as one line, without its comment."""
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)).replace("\\\n", " ")
    return [
        line.partition("  #")[0]
        for line in lines.splitlines()
        if re.search(r"paceline (tune|ab|knobs) ", line)
    ]


def test_the_objectives_can_be_read(tmp_path):
    """With their critical level."""
    file = tmp_path / "slo.toml"
    file.write_text(TOML[0])

    assert read_slo(file) == ("p(95)<60|120", "errors<0.5%")


def test_the_knobs_of_a_restart_fit_the_command_beside_them(tmp_path):
    """They are settings of the server, and every one reaches it."""
    file = tmp_path / "knobs.toml"
    file.write_text(TOML[1])
    read = read_knob_file(file)
    launch = re.search(r'--launch "(paceline serve[^"]*)"', GUIDE)[1]

    words = Command(launch, read, 8081).render({"embed.streams": 2}, tmp_path)

    assert {knob.name for knob in read.knobs} <= {knob.name for knob in iter_knobs() if not knob.live}
    assert words[-4:] == ["--set", "embed.streams=2", "--set", "embed.precision=fp32"]


@pytest.mark.parametrize("line", [*commands(GUIDE), *commands(README)])
def test_every_option_of_a_command_exists(capsys, line):
    command = re.search(r"paceline (\w+) ", line)[1]
    outside = re.sub(r"'[^']*'|\"[^\"]*\"", "", line)
    assert run([command, "--help"]) == 0

    told = capsys.readouterr().out
    assert [option for option in re.findall(r"--[a-z-]+", outside) if option not in told] == []

"""`paceline version`."""

import json
import platform

import msgspec

from paceline import __version__
from paceline.cli import run
from paceline.cli.version import Machine


def test_it_prints_what_a_bug_report_needs(capsys):
    assert run(["version"]) == 0

    first, machine, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"paceline {__version__}, Python {platform.python_version()}, ")
    assert " cores, " in machine


def test_json_is_for_programs(capsys):
    assert run(["version", "--json"]) == 0

    shown = json.loads(capsys.readouterr().out)
    machine = msgspec.convert(shown["machine"], Machine)
    assert (shown["paceline"], shown["python"]) == (__version__, platform.python_version())
    assert (machine.cores >= 1, machine.memory_bytes > 0, "numpy" in shown["libraries"]) == (True, True, True)

"""The command and the files of a launched server, with the knobs filled in."""

from pathlib import Path

import pytest

from paceline.base.errors import ConfigError
from paceline.tune.command import Command
from paceline.tune.knob import Knob
from paceline.tune.knob_file import KnobFile

THREADS = Knob("threads", 1, values=(1, 2, 4))
FLAG = Knob("flag", "", values=("", "--fast"))


def knob_file(*knobs: Knob, **files: str) -> KnobFile:
    """A file of these knobs at /etc/tune/knobs.toml."""
    return KnobFile(Path("/etc/tune/knobs.toml"), knobs, files=files)


def test_places_are_filled_without_a_shell(tmp_path):
    """Quotes group words as in a shell; nothing else of it has a meaning."""
    command = Command("serve '--name=a b' -t {threads} --port={port} > {here}", knob_file(THREADS), 8080)

    assert command.render({"threads": 4}, tmp_path) == [
        *("serve", "--name=a b", "-t", "4", "--port=8080", ">", "/etc/tune")
    ]


def test_an_empty_flag_is_left_out(tmp_path):
    """So that a knob can be a flag that is given or not."""
    command = Command("serve {flag} {threads}", knob_file(FLAG, THREADS), 1)

    assert command.render({}, tmp_path) == ["serve", "1"]
    assert command.render({"flag": "--fast"}, tmp_path) == ["serve", "--fast", "1"]


def test_all_knobs_as_settings_of_our_own_server(tmp_path):
    """`{settings}` is a --set for each of them."""
    ordered = Knob("embed.batch.ordered", True, values=(True, False))
    command = Command("paceline serve --port {port} {settings}", knob_file(THREADS, ordered), 9)

    assert command.render({"threads": 2}, tmp_path) == [
        *("paceline", "serve", "--port", "9", "--set", "threads=2", "--set", "embed.batch.ordered=true")
    ]


def test_files_are_written_beside_each_other(tmp_path):
    """Only braces around a single name are places, so that blocks of a configuration stay as they are."""
    text = 'events { n {threads}; } log "${host}" {{threads}} {folder} {files.other}'
    command = Command("serve -c {files.main}", knob_file(THREADS, main=text, other="x"), 1)

    words = command.render({"threads": 2}, tmp_path)

    assert words == ["serve", "-c", str(tmp_path / "main")]
    assert (tmp_path / "main").read_text() == (
        f'events {{ n 2; }} log "${{host}}" {{threads}} {tmp_path} {tmp_path / "other"}'
    )
    assert (tmp_path / "other").read_text() == "x"


@pytest.mark.parametrize(
    ("text", "files", "message"),
    [
        (
            "serve {treads} {threads}",
            {},
            "--launch: {treads}: no such knob; did you mean {threads}? Declare it in",
        ),
        ("serve {threads}", {"c": "{x}"}, "/etc/tune/knobs.toml: files.c: {x}: no such knob"),
        (
            "serve",
            {},
            "threads: a knob that nothing uses; put {threads} into --launch or into one of [files]",
        ),
        ("serve {threads}", {"c": ""}, "files.c: a file that --launch does not name; put {files.c} into it"),
        ("serve --all={settings}", {}, "--launch: --all={settings}: {settings} must be a word of its own"),
        ("serve {files.d} {threads}", {}, "{files.d}: no such knob"),
        ("serve '{threads}", {}, "No closing quotation; quote it as for a shell"),
        ("  ", {}, "--launch: the command is empty; name the server's program"),
    ],
)
def test_a_command_that_does_not_fit_is_refused(text, files, message):
    """Before anything is started, with the way out."""
    with pytest.raises(ConfigError) as refused:
        Command(text, knob_file(THREADS, **files), 1)

    assert message in str(refused.value)

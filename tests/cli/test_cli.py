"""The command line as a whole: help, exit codes, one line for every error, no import before its time."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from paceline import __version__
from paceline.cli import COMMANDS, run
from scripted_server import Answer


def paceline(*arguments, **options):
    """Run the real thing in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "paceline", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(capsys, arguments):
    assert run(arguments) == 0

    text = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in text] == []
    assert "Examples:" in text


@pytest.mark.parametrize(
    "command",
    [
        "embed",
        "vectors",
        "vectors load",
        "tune",
        "ab",
        "config",
        "config show",
        "config check",
        "config reference",
        "version",
    ],
)
def test_every_command_explains_itself(capsys, command):
    assert run([*command.split(), "--help"]) == 0

    assert f"Usage: paceline {command}" in capsys.readouterr().out


def test_version_flag_prints_the_version(capsys):
    assert (run(["--version"]), capsys.readouterr().out) == (0, f"{__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embde"], "no such command or option: embde; did you mean embed?"),
        (["--verison"], "no such command or option: --verison; did you mean --version?"),
        (
            ["qqq"],
            "no such command or option: qqq; there are serve, demo, embed, generate, vectors, measure, tune, ab, compare, report, bench, runs, config, knobs, version",
        ),
        (
            ["config", "shwo"],
            'Unknown command "shwo". Did you mean "show"? Available commands: show, check, reference. See paceline --help',
        ),
        (["config", "show", "--difff"], "Unknown option: --difff. Did you mean --diff? See paceline --help"),
        (
            ["config", "show", "--set"],
            'Command "config show" parameter --set requires an argument. See paceline --help',
        ),
        (["config", "show", "more"], "Unused Tokens: ['more']. See paceline --help"),
        (
            ["config", "show", "--set", "embed.batch.max_cost=abc"],
            "embed.batch.max_cost = 'abc' (from --set): expected an integer 0..1048576",
        ),
        (
            ["config", "show", "--config", "no\nsuch.toml"],
            "settings file no such.toml: No such file or directory",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, arguments, message):
    code = run(arguments)

    assert (code, capsys.readouterr()) == (2, ("", f"paceline: error: {message}\n"))


def test_a_failure_is_one_line_and_exit_code_1(capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        code = run(["embed", "text", "--url", url])

    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"paceline: error: cannot reach {url}: ")


def test_debug_adds_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("PACELINE_DEBUG", "1")

    code = run(["config", "show", "--set", "serve.port=x"])

    err = capsys.readouterr().err
    assert (code, err.startswith("Traceback"), err.splitlines()[-1]) == (
        2,
        True,
        "paceline: error: serve.port = 'x' (from --set): expected an integer 0..65535",
    )


def test_the_environment_of_a_process_is_read():
    done = paceline("config", "show", env={**os.environ, "PACELINE_SERVE__PRT": "1"})

    assert (done.returncode, done.stderr) == (
        2,
        "paceline: error: PACELINE_SERVE__PRT (from environment): no such setting; did you mean PACELINE_SERVE__PORT?\n",
    )


def test_a_reader_that_leaves_is_no_traceback():
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "paceline", "config", "reference"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)

    assert (done.returncode, done.stderr) == (1, b"")


def test_ctrl_c_exits_with_130_and_says_nothing(server):
    server.says(Answer(hang=True))
    with subprocess.Popen(
        [sys.executable, "-m", "paceline", "embed", "text", "--url", server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert server.came.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, out, err) == (130, b"", b"")
    assert server.left.wait(60)


def test_help_imports_no_heavy_library():
    code = (
        "import sys; from paceline.cli import run; run(['--help']); run(['version']); "
        "print({'numpy', 'openvino', 'httpx', 'uvicorn', 'paceline.settings', 'paceline.embed'} & {*sys.modules})"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout.splitlines()[-1] == "set()"


def test_importing_paceline_imports_nothing_else():
    code = "import sys; before = {*sys.modules}; import paceline; print({*sys.modules} - before)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout == "{'paceline'}\n"

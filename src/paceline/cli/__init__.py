"""The command line: one file per command, imported when it is called, so that `paceline --help` stays quick.

Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 130 interrupted. Errors are one line on standard error.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from cyclopts import App, CycloptsError

from paceline import __version__
from paceline.base.errors import ConfigError, PacelineError
from paceline.cli.console import say_error

COMMANDS = {
    "serve": "Serve a model over HTTP.",
    "demo": "Start a server with the demo model, put load on it and show what happens.",
    "embed": "Embed texts from the command line, a file or standard input.",
    "generate": "Let a running server write text, or answer in a chat.",
    "vectors": "Make, fill, search and look after collections of vectors.",
    "measure": "Put load on an HTTP server: latency, throughput and a verdict.",
    "tune": "Find the settings that hold an SLO best, and prove it.",
    "ab": "Tell which of two settings, or of two servers, is better, under load in turns.",
    "compare": "Tell whether one run was faster than another.",
    "report": "Show a run again, from its records or from the store.",
    "runs": "List the runs that are kept on this machine.",
    "config": "Show, check and explain settings.",
    "knobs": "List the settings that the tuner turns, here or on a running server.",
    "version": "Print versions and the machine.",
}
"""Each lives in `paceline.cli.<name>` as `command`, a cyclopts App of that name."""

app = App(
    name="paceline",
    help="Serve AI models, measure them, and tune them until they hold a service-level objective.",
    help_format="plaintext",
    help_epilogue="Examples:\n\n"
    "    paceline serve                                 the demo model on port 8080\n"
    "    paceline serve --set embed.model=models/mine   your own\n"
    '    paceline embed "a red bicycle"\n'
    '    paceline generate "The sea is" --max-tokens 40\n'
    "    paceline measure --url http://localhost:8080 --requests 1000 --concurrency 50\n"
    "    paceline config show --diff\n\n"
    "`paceline COMMAND --help` says more about each.",
    version=__version__,
    suppress_keyboard_interrupt=False,
)
for _name, _help in COMMANDS.items():
    app.command(f"paceline.cli.{_name}:command", name=_name, help=_help)


def main() -> NoReturn:
    """Entry point of the `paceline` script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code and never raises."""
    first = arguments[0] if arguments else "--help"
    if first not in {*COMMANDS, "--help", "-h", "--version"}:
        # Not left to cyclopts, which would import every command to find out whether it may name it.
        near = get_close_matches(first, [*COMMANDS, "--help", "--version"], n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        say_error(f"no such command or option: {first}; {hint}")
        return 2
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does. Keep the interpreter from flushing into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last stop before the user, who gets a line and not a traceback
        if os.environ.get("PACELINE_DEBUG") == "1":
            traceback.print_exc()
        return _explain(error)
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> int:
    if isinstance(error, CycloptsError):
        say_error(f"{error} See paceline --help")
        return 2
    if isinstance(error, PacelineError):
        say_error(error.message)
        return 2 if isinstance(error, ConfigError) else 1
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    say_error(f"{type(root).__name__}: {root} (PACELINE_DEBUG=1 shows where)")
    return 1

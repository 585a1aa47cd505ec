"""A server that the tuner starts itself, and starts again with another setting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from paceline.base.errors import ConfigError, Unreachable
from paceline.tune import keeper
from paceline.tune.command import Command
from paceline.tune.knob_file import KnobFile
from paceline.tune.readiness import Readiness
from paceline.tune.setting import Setting, label

READY_EVERY_S = 0.05
LOG_LINES = 5
LOG_TAIL_BYTES = 8192
KEEPER_PATIENCE_S = 5.0
"""Beyond the server's own time to stop."""


class LaunchedServer:
    """One server at a time, at one URL. Not safe for several threads at once.

    It ends with us: with `close`, and also when we are killed (`keeper`), so that nobody is served trial settings.
    Raises ConfigError when the command does not fit the knobs; nothing is started before `apply` or `revert`.
    """

    def __init__(self, command: str, knob_file: KnobFile, url: str) -> None:
        self._url = url
        self._knob_file = knob_file
        self._server = knob_file.server
        self._readiness = Readiness(url, self._server.ready)
        self._command = Command(command, knob_file, self._readiness.port)
        self._folder = tempfile.TemporaryDirectory(prefix="paceline-launch-")
        self._log = Path(self._folder.name) / "server.log"
        self._keeper: subprocess.Popen[bytes] | None = None
        self._running: dict[str, object] | None = None
        self.pid: int | None = None
        """Of the server's first process, which leads a process group of its own; None while none was started."""

    def apply(self, setting: Setting) -> None:
        """Return when the server runs with `setting`: started again, unless it runs so already.

        Raises ConfigError for a value out of range, before anything is stopped, and for a port in use; Unreachable,
        with the server's last lines, when it does not start or is not ready in time. Then no server is left.
        """
        complete = dict[str, object](self._knob_file.complete(setting))
        if complete == self._running and self.alive():
            return
        self._stop()
        if self._readiness.listening():
            raise ConfigError(
                f"--url {self._url}: another server listens there already; stop it, or take a free port",
                param="url",
            )
        try:
            self._start(setting)
            self._wait_until_ready(setting)
        except BaseException:  # Ctrl-C too: no server may be left that nobody will stop
            self._stop()
            raise
        self._running = complete

    def revert(self) -> None:
        """Back to the baseline; raises as `apply`."""
        self.apply({})

    def alive(self) -> bool:
        """Whether the server that was started last still runs."""
        return self._keeper is not None and self._keeper.poll() is None

    def last_words(self) -> str:
        """The last lines that the server wrote to standard output and error, in one line."""
        try:
            with self._log.open("rb") as log:
                log.seek(max(log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES, 0))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return " | ".join(line.strip() for line in lines[-LOG_LINES:] if line.strip())

    def close(self) -> None:
        """End the server and all that it started, and remove its folder. May be called again."""
        self._stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, setting: Setting) -> None:
        words = self._command.render(setting, Path(self._folder.name))
        with self._log.open("wb") as log:
            self._keeper = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
                [
                    *(sys.executable, "-I", "-S", keeper.__file__, str(os.getpid()), self._folder.name),
                    *(f"SIG{self._server.stop_signal}", str(self._server.stop_timeout_s), *words),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we then end the server
            )
        assert self._keeper.stdout is not None
        kind, _, rest = self._keeper.stdout.readline().decode(errors="replace").strip().partition(" ")
        if kind != "pid":
            raise ConfigError(
                f"--launch: {words[0]} cannot be run: {rest or self.last_words()}; check its name and path",
                param="launch",
            )
        self.pid = int(rest)

    def _wait_until_ready(self, setting: Setting) -> None:
        assert self._keeper is not None
        until = time.monotonic() + self._server.start_timeout_s
        while missing := self._readiness.missing():
            if time.monotonic() > until:
                raise Unreachable(
                    f"{self._name(setting)} is not ready after {self._server.start_timeout_s:g} s: {missing}; "
                    f"raise server.start_timeout_s, or see its last lines: {self.last_words() or 'none'}"
                )
            with suppress(subprocess.TimeoutExpired):
                self._keeper.wait(READY_EVERY_S)
                break
        # Whoever answered need not be ours: a server that finds its port taken dies a little later.
        if not self.alive():
            advice = (
                ""
                if self._keeper.returncode
                else ", as if it went to the background; keep it in the foreground"
            )
            raise Unreachable(
                f"{self._name(setting)} ended with {self._keeper.returncode} before it was ready{advice}; "
                f"its last lines: {self.last_words() or 'none'}"
            )

    def _name(self, setting: Setting) -> str:
        return f"the server with {label(setting)}" if setting else "the server with its baseline settings"

    def _stop(self) -> None:
        """Let go of the keeper's pipe, which is all it waits for."""
        self._running = None
        if self._keeper is None:
            return
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        try:
            self._keeper.wait(self._server.stop_timeout_s + KEEPER_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        if self._keeper.returncode < 0 and self.pid is not None:  # killed before it could do its duty
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._keeper.stdout.close()
        self._keeper = None

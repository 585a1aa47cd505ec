"""`paceline serve` as a user starts it: a process of its own, on a free port, stopped at the end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

ARGUMENTS = [sys.executable, "-m", "paceline", "serve", "--port", "0"]


@dataclass
class Running:
    """A server that answers."""

    url: str
    process: subprocess.Popen[str]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def running(
    *settings: str, state_dir: str, arguments: tuple[str, ...] = (), **environment: str
) -> Iterator[Running]:
    """A server with `settings` such as `cache.enabled=false`."""
    command = [*ARGUMENTS, *arguments, "--set", f"serve.state_dir={state_dir}"]
    for setting in settings:
        command += ["--set", setting]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
    assert process.stderr is not None
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            found = re.search(r"serving on (\S+)", line)
            if found:
                yield Running(found[1], process)
                break
        else:
            raise AssertionError("the server did not start:\n" + "".join(lines))
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stderr.close()


def refused(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status and standard error of a server that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "paceline", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stderr

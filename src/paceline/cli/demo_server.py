"""The server that the demo talks to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from paceline.base.errors import PacelineError
from paceline.cli.options import Options

if TYPE_CHECKING:
    import psutil

START_S = 60.0


@contextmanager
def running_server(options: Options, token: str, *settings: str) -> Iterator[tuple[str, psutil.Process]]:
    """`paceline serve` on a free port, in a process of its own as in real life; stopped at the end.

    `settings` such as `embed.model=` go before the user's own. `token` opens its administration. It goes through the environment, since command lines are there for all to see.
    """
    import psutil  # noqa: PLC0415 - for this command only

    command_line = [sys.executable, "-m", "paceline", "serve", "--port", "0"]
    if options.config is not None:
        command_line += ["--config", str(options.config)]
    for setting in (*settings, *options.sets):
        command_line += ["--set", setting]
    environ = os.environ | {"PACELINE_ADMIN__TOKEN": token}
    child = subprocess.Popen(command_line, stderr=subprocess.PIPE, text=True, env=environ)  # noqa: S603 - ourselves
    log = child.stderr
    assert log is not None
    reading = threading.Thread(target=lambda: deque(log, maxlen=0), name="log", daemon=True)
    try:
        said = ""
        for line in log:
            said = line
            found = re.search(r"serving on (\S+)", line)
            if found:
                break
        else:
            child.wait()
            raise PacelineError(
                f"the server did not start: {said.strip() or f'exit status {child.returncode}'}"
            )
        reading.start()  # a full pipe would stop the server
        yield found[1], psutil.Process(child.pid)
    finally:
        child.terminate()
        try:
            child.wait(START_S)
        except subprocess.TimeoutExpired:
            child.kill()
        if reading.ident:
            reading.join(START_S)
        log.close()

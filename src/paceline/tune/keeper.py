"""The process between the tuner and a server that it launched: when either ends, so does all that the server started.

It runs as a script, not as a module: nothing of ours is imported, so that it starts in a few milliseconds.

    keeper.py TUNER_PID FOLDER STOP_SIGNAL STOP_TIMEOUT_S COMMAND ...

FOLDER is the server's temporary folder, which the tuner removes, and the keeper where the tuner no longer can.

Standard input is a pipe that the tuner holds open: its end means stop. A forked child of the tuner may hold it open
too, so the tuner's own end is watched as well. Standard error is the server's log; the one line on standard output
is `pid N`, or `error WHY` when the command cannot be run. The exit status is the server's, as a shell tells it.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress

PR_SET_CHILD_SUBREAPER = 36


def main(tuner: int, stop_signal: signal.Signals, stop_timeout_s: float, command: list[str]) -> int:
    """Run the command until it ends, the pipe ends, or the tuner does."""
    with suppress(OSError, AttributeError):  # Linux: what the server sets free becomes our child, not init's
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(woken, selectors.EVENT_READ)
    ends = [0]
    with suppress(OSError, AttributeError):  # AttributeError: not Linux
        ends.append(os.pidfd_open(tuner))
    for end in ends:
        selector.register(end, selectors.EVENT_READ)
    try:
        server = subprocess.Popen(  # noqa: S603 - running the user's command is what we are for
            command, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
        )
    except OSError as error:
        print(f"error {error.strerror or error}", flush=True)  # noqa: T201
        return 127
    with suppress(BrokenPipeError):
        print(f"pid {server.pid}", flush=True)  # noqa: T201
    while server.poll() is None and os.getppid() == tuner:
        ready = {key.fd for key, _ in selector.select()}
        if ready & set(ends) or signal.SIGTERM in _signals(woken):
            _stop(server, stop_signal, stop_timeout_s, woken)
            break
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGKILL)
    status = server.wait()
    _kill_strays()
    return status if status >= 0 else 128 - status


def _signals(woken: int) -> bytes:
    """The numbers of the signals that came since we last asked."""
    try:
        return os.read(woken, 4096)
    except BlockingIOError:
        return b""


def _stop(
    server: subprocess.Popen[bytes], stop_signal: signal.Signals, stop_timeout_s: float, woken: int
) -> None:
    """Ask the whole group to end, and wait for its first process."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, stop_signal)
    selector = selectors.DefaultSelector()
    selector.register(woken, selectors.EVENT_READ)
    until = time.monotonic() + stop_timeout_s
    while server.poll() is None and (left := until - time.monotonic()) > 0:
        selector.select(left)
        _signals(woken)


def _kill_strays() -> None:
    """SIGKILL what the server set free: it left the group, and is our child since its parent ended."""
    while children := _children():
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def _children() -> list[int]:
    """Our children, those included whose parents ended; empty where that is not told."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", encoding="ascii") as listed:  # noqa: PTH123 - pathlib is slow to import
            return [int(pid) for pid in listed.read().split()]
    except OSError:
        return []


if __name__ == "__main__":
    _tuner, _folder = int(sys.argv[1]), sys.argv[2]
    _status = main(_tuner, signal.Signals[sys.argv[3]], float(sys.argv[4]), sys.argv[5:])
    if os.getppid() != _tuner:
        import shutil

        shutil.rmtree(_folder, ignore_errors=True)
    sys.exit(_status)

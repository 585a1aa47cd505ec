"""An empty working directory and environment for each test of this folder, and the scripted server."""

import os
import signal

import pytest

from paceline.settings import ALIASES
from scripted_server import scripted_server, server

__all__ = ["scripted_server", "server"]


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("PACELINE_") or name in ALIASES:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard():
    """What a shell starts in the background ignores Ctrl-C, and so would every command that a test starts.

    A handler, unlike that, is not inherited: children begin with the default again.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)

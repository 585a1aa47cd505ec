"""An empty working directory and environment for each test of this folder, and the scripted server."""

import os

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

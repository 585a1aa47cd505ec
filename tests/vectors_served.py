"""One `paceline serve` with the demo model and a folder of collections, for the tests that ask it over HTTP."""

from __future__ import annotations

import pytest
from running import running


@pytest.fixture(scope="session")
def vectors_server(tmp_path_factory):
    """Its URL; tests choose their own names of collections."""
    state, folder = tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("collections")
    with running(f"vectors.folder={folder}", state_dir=str(state)) as started:
        yield started.url

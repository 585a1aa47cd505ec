"""One server for the tests that only ask it things."""

from __future__ import annotations

import pytest
from running import running


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory):
    """Measured layout and quantised models, shared by all servers of the tests so that each starts in a second."""
    return str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def server(state_dir):
    """The demo model on a free port."""
    with running(state_dir=state_dir) as started:
        yield started

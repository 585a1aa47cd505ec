"""A server that may be tuned, and a load for it."""

from __future__ import annotations

import time

import pytest
from running import running

from paceline.app.tuning.admin import Admin
from paceline.app.tuning.load import with_texts
from paceline.measure.plan import OpenLoop, Payload, Plan, Stage, Target
from paceline.measure.probe import name_model

TOKEN = "adm"


@pytest.fixture(scope="session")
def tuned_server(state_dir):
    """The demo model, with an administrator."""
    with running(f"admin.token={TOKEN}", "embed.batch.max_wait_ms=10", state_dir=state_dir) as started:
        yield started


@pytest.fixture
def admin(tuned_server):
    """Ends with the server on its baseline."""
    client = Admin(tuned_server.url, TOKEN, lease_s=5.0)
    yield client
    client.close()


@pytest.fixture
def plan_for(tmp_path):
    """Plans of made-up texts: `plan_for(url, rate=100.0, seconds=1.0, distinct=None)`."""

    def made(url, *, rate=100.0, seconds=1.0, distinct=None):
        plan = Plan(
            Target(f"{url}/v1/embeddings"),
            OpenLoop((Stage(seconds, rate),)),
            Payload(task="embeddings"),
            seed=3,
        )
        folder = tmp_path / f"{time.monotonic_ns()}"
        folder.mkdir()
        return with_texts(name_model(plan), folder, (4, 24), distinct)

    return made


@pytest.fixture
def value_of(tuned_server):
    """What a setting of the server is now."""
    with_own_eyes = Admin(tuned_server.url, TOKEN)
    yield lambda name: with_own_eyes.settings()[name]["value"]
    with_own_eyes.close()


@pytest.fixture
def until():
    """Wait for other processes and threads: there is no clock to jump."""

    def wait(condition, limit_s=30.0):
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.02)

    return wait

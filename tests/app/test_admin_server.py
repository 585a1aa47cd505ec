"""`/admin` of real processes: several workers, deaths at any moment, and what the description promises."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from running import running

TOKEN = {"authorization": "Bearer adm"}
SIZE, TEXTS = "embed.batch.max_size", "embed.max_texts"

TRIAL = """
import sys, time, httpx
(url,) = sys.argv[1:]
changes = {"embed.batch.max_size": 2, "embed.max_texts": 30}
reply = httpx.patch(url + "/admin/settings", json={"changes": changes, "lease_s": 1.0},
                    headers={"authorization": "Bearer adm"})
print(reply.json()["lease"]["id"], flush=True)
time.sleep(60)
"""


def value(url, name=SIZE):
    state = httpx.get(url + "/admin/settings", headers=TOKEN).json()
    return next(setting["value"] for setting in state["settings"] if setting["name"] == name)


def change(url, **body):
    reply = httpx.patch(url + "/admin/settings", json=body, headers=TOKEN)
    assert reply.status_code == 200, reply.text
    return reply.json()


def statuses(url, texts, calls=24):
    """Each call on a connection of its own, so that every worker is asked."""
    body = json.dumps({"input": [f"text {number}" for number in range(texts)]})
    return {_status(url, body) for _ in range(calls)}


def _status(url, body):
    with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)) as connection:
        connection.request("POST", "/v1/embeddings", body)
        return connection.getresponse().status


def rows_of_a_burst(url):
    """Rows in the largest batch of a request of many new texts."""
    before = httpx.get(url + "/admin/batches", headers=TOKEN).json()["next"]
    body = {"input": [f"burst {time.time_ns()} {number}" for number in range(24)]}
    assert httpx.post(url + "/v1/embeddings", json=body).status_code == 200
    batches = httpx.get(f"{url}/admin/batches?since={before}", headers=TOKEN).json()["batches"]
    return max(rows for _, rows, *_ in batches)


def until(condition, limit_s=30.0):
    """Wait for other processes: there is no clock to jump."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_tuner_leaves_the_server_as_it_was(state_dir, workers):
    with running(f"serve.workers={workers}", "admin.token=adm", state_dir=state_dir) as server:
        url = server.url
        tuner = subprocess.Popen([sys.executable, "-c", TRIAL, url], stdout=subprocess.PIPE, text=True)
        lease = tuner.stdout.readline().strip()
        during = (value(url), value(url, TEXTS), statuses(url, 31), rows_of_a_burst(url))
        tuner.send_signal(signal.SIGKILL)
        tuner.wait()
        tuner.stdout.close()
        until(lambda: value(url) == 32)

        assert during == (2, 30, {413}, 2)
        assert value(url, TEXTS) == 2048
        assert statuses(url, 31) == {200}
        assert rows_of_a_burst(url) > 2
        late = httpx.post(f"{url}/admin/settings/lease/{lease}", json={"lease_s": 1}, headers=TOKEN)
        assert (late.status_code, late.json()["code"]) == (404, "lease_unknown")


def test_when_a_change_is_answered_every_worker_has_it(state_dir, tmp_path):
    audit = tmp_path / "audit.jsonl"
    settings = ("serve.workers=3", "admin.token=adm", f"admin.audit_log={audit}")
    with running(*settings, state_dir=state_dir) as server:
        for texts in (3, 9, 2, 7):
            change(server.url, changes={TEXTS: texts})
            assert statuses(server.url, texts) == {200}
            assert statuses(server.url, texts + 1) == {413}

        assert len(audit.read_text().splitlines()) == 4


def children(server):
    """The engine process and the workers, in the order they were started."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            found += [child] * ("spawn_main" in " ".join(child.cmdline()))
    return sorted(found, key=lambda child: child.pid)


@pytest.mark.slow
def test_processes_that_come_back_take_over_what_is_in_force(state_dir):
    with running("serve.workers=2", "admin.token=adm", state_dir=state_dir) as server:
        url = server.url
        change(url, changes={TEXTS: 50})
        lease = change(url, changes={TEXTS: 30, SIZE: 2}, lease_s=60)["lease"]["id"]
        for victim in children(server):
            victim.kill()
            until(lambda: len(children(server)) == 3)
            until(lambda: _answers(url))

            assert statuses(url, 31) == {413}
            assert (statuses(url, 30), rows_of_a_burst(url)) == ({200}, 2)
            assert value(url) == 2
        back = httpx.delete(f"{url}/admin/settings/lease/{lease}", headers=TOKEN)

        assert back.status_code == 200
        assert (value(url), value(url, TEXTS)) == (32, 50)
        assert statuses(url, 50) == {200}
        assert statuses(url, 51) == {413}


def _answers(url):
    """Whether every process answers, the engine too."""
    try:
        return all(_status(url, json.dumps({"input": f"{time.time_ns()}"})) == 200 for _ in range(10))
    except (OSError, http.client.HTTPException):
        return False


def test_schemathesis_finds_no_difference_from_the_server(state_dir, tmp_path):
    with running("embed.model=", "admin.token=adm", state_dir=state_dir) as server:
        check = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
                *("--seed", "7", "--max-examples", "20", "--no-color"),
                *("--phases", "examples,coverage,fuzzing", "--include-path-regex", "^/admin"),
                *("--header", "Authorization: Bearer adm"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
                "PYTHONPATH": str(Path(__file__).parents[1] / "serve"),
            },
        )

    assert check.returncode == 0, check.stdout[-6000:] + check.stderr[-2000:]

"""What docs/guides/vectors.md shows works as it stands, in the order of the page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import httpx

from paceline.serve.vectors_table import COLLECTION, OPERATIONS

GUIDE = (Path(__file__).parents[2] / "docs/guides/vectors.md").read_text()
CURL = re.compile(r"^curl .*?'$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_every_curl_is_answered(build, serve, vectors):
    commands = [shlex.split(command) for command in CURL.findall(GUIDE)]
    with serve(build(vectors=vectors).app) as url:
        replies = [
            httpx.post(where.replace("localhost:8080", url), content=body, timeout=60)
            for _, where, _, body in commands
        ]

    assert len(replies) == 7
    assert [reply.status_code for reply in replies] == [200] * 7, [reply.text for reply in replies]
    assert [match["id"] for match in replies[3].json()["matches"]] == ["cat"]
    assert [match["id"] for match in replies[6].json()["matches"]] == ["a", "b"]


def test_pinecone_s_client_runs_as_shown(build, serve, vectors):
    (program,) = PYTHON.findall(GUIDE)
    known: dict[str, object] = {}
    with serve(build(vectors=vectors).app) as url:
        exec(program.replace("http://127.0.0.1:8080", url), known)  # the page's own words
        known["index"].close()
        known["pc"].close()

    assert [match.id for match in known["found"].matches] == ["alien"]


def test_every_path_is_in_the_table():
    told = set(re.findall(r"`(/[a-z0-9_/]+)`", GUIDE))
    missing = [
        path
        for operation in OPERATIONS
        for path in operation.paths
        if path.removeprefix(COLLECTION) not in told | {""} and "/v1/indexes" not in path
    ]

    assert missing == []

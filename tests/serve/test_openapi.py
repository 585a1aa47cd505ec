"""The OpenAPI description: valid, complete, and true (Schemathesis against a real server)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from paceline.base.api import ModelCard
from paceline.flow.limiter import LimitPolicy
from paceline.serve.openapi import openapi
from paceline.serve.policy import AuthPolicy
from paceline.serve.problem import STATUS
from paceline.serve.vectors_table import OPERATIONS

CARD = ModelCard(id="tiny", created=1, dimensions=8, max_tokens=256)

WRITER = ModelCard(id="letters", created=1, task="generate", max_tokens=4096)
OTHER = ModelCard(id="others", created=1, task="generate", max_tokens=4096)


def references(part):
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


@pytest.mark.parametrize("cards", [[CARD], [WRITER], [CARD, WRITER], [WRITER, OTHER], []])
def test_every_reference_leads_somewhere(cards):
    description = openapi(cards, secured=True, vectors=True)

    for reference in set(references(description)):
        found = description
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]

        assert found, reference


def test_the_models_at_hand_are_named():
    description = openapi([CARD], secured=False)

    fields = description["components"]["schemas"]["EmbedRequest"]["properties"]
    assert fields["model"]["anyOf"][0] == {"enum": ["tiny"]}
    assert fields["dimensions"]["anyOf"][0]["maximum"] == 8


def test_only_tasks_that_are_served_are_described():
    embeds, writes = openapi([CARD], secured=False), openapi([WRITER], secured=False)

    assert "/v1/completions" not in embeds["paths"]
    assert "/v1/embeddings" not in writes["paths"]
    assert writes["components"]["schemas"]["InferRequest"]["oneOf"] == [
        {"$ref": "#/components/schemas/GenerateInfer"}
    ]


def test_of_several_generators_one_must_be_named():
    fields = openapi([WRITER, OTHER], secured=False)["components"]["schemas"]["ChatRequest"]["properties"]

    assert fields["model"]["enum"] == ["letters", "others"]
    assert "anyOf" not in fields["model"]


def test_without_a_model_it_still_describes_the_api():
    assert "/v1/embeddings" in openapi([], secured=False)["paths"]


def test_collections_are_described_where_there_are_any():
    with_them, without = openapi([CARD], secured=True, vectors=True), openapi([CARD], secured=True)

    ids = [
        told["operationId"]
        for place in with_them["paths"].values()
        for method, told in place.items()
        if method != "parameters"
    ]
    assert len(ids) == len(set(ids))
    assert {path for operation in OPERATIONS for path in operation.paths} <= set(with_them["paths"])
    assert "/v1/search" not in without["paths"]
    query = with_them["paths"]["/v1/vectors/list"]["get"]["parameters"]
    assert {"name": "limit", "in": "query", "required": False} == {
        key: value
        for parameter in query
        if parameter.get("name") == "limit"
        for key, value in parameter.items()
        if key != "schema"
    }


@pytest.mark.parametrize("secured", [True, False])
def test_security_is_asked_for_where_there_are_tokens(secured):
    paths = openapi([CARD], secured=secured)["paths"]

    assert paths["/v1/embeddings"]["post"]["security"] == ([{"bearer": []}, {"key": []}] if secured else [])
    assert ("401" in paths["/v1/embeddings"]["post"]["responses"]) is secured
    assert paths["/health"]["get"]["security"] == []


def test_every_status_of_the_table_is_described():
    described = set(openapi([CARD], secured=True)["components"]["responses"])

    assert {str(status) for status in STATUS.values()} <= described


def test_the_server_shows_it(house):
    assert house.call("GET", "/openapi.json").json() == json.loads(json.dumps(openapi([CARD], secured=False)))


@pytest.mark.parametrize("generating", [False, True])
def test_schemathesis_finds_no_difference_from_the_server(build, serve, tmp_path, generating):
    house = build(auth=AuthPolicy(token="secret"), limits=LimitPolicy(rpm=1_000_000), generating=generating)
    house.app.entrance.started = True
    with serve(house.app) as url:
        check = schemathesis(url, tmp_path, "--max-examples=20", "--phases=examples,coverage,fuzzing")

    assert check.returncode == 0, check.stdout[-6000:] + check.stderr[-2000:]


def test_nor_does_it_where_there_are_collections(build, serve, tmp_path, vectors):
    """What a collection takes (its dimension, its fields) no schema can know: a refusal of it is no difference."""
    house = build(auth=AuthPolicy(token="secret"), vectors=vectors)
    house.app.entrance.started = True
    only = "--include-path-regex=^/v1/(vectors|collections|search|snapshots|indexes)"
    without = "--exclude-checks=positive_data_acceptance"
    with serve(house.app) as url:
        check = schemathesis(url, tmp_path, only, without, "--max-examples=2", "--phases=coverage,fuzzing")

    assert check.returncode == 0, check.stdout[-6000:] + check.stderr[-2000:]


def schemathesis(url, folder, *options):
    """A finished run against the server at `url`."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", *options]
    return subprocess.run(
        [*command, "--seed=7", "--no-color", "--header=Authorization: Bearer secret"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            "PYTHONPATH": str(Path(__file__).parent),
        },
    )


def test_the_examples_of_collections_are_answered(build, serve, vectors):
    """In the order of the page, but that a collection is made first and dropped last."""
    paths = openapi([CARD], secured=False, vectors=True)["paths"]
    asked = [
        (operation, path, method)
        for operation in sorted(OPERATIONS, key=_turn)
        for path in operation.paths
        for method in operation.methods
    ]
    problems = {}
    with serve(build(vectors=vectors).app) as url, httpx.Client(base_url=url, timeout=60) as caller:
        for operation, path, method in asked:
            body = paths[path][method.lower()].get("requestBody", {}).get("content", {})
            name = "again" if operation.name == "restore" else "glosses"
            reply = caller.request(
                method,
                path.replace("{name}", name),
                json=body.get("application/json", {}).get("example"),
                params={"ids": "sea"} if (operation.name, method) == ("fetch", "GET") else None,
            )
            if reply.status_code != 200:
                problems[operation.name] = reply.status_code

    # Of one record nothing can be measured; another precision and other shards need a collection made for them.
    assert problems.keys() <= {"tune", "precisions", "reencode", "reshard"}
    assert set(problems.values()) <= {400}


def _turn(operation):
    """Pinecone's `create_index` makes what `drop_collection` has dropped."""
    last = {"drop_collection": 1, "create_index": 2, "describe_index": 3, "delete_index": 4}
    return {"create_collection": -1, **last}.get(operation.name, 0)

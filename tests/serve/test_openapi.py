"""The OpenAPI description: valid, complete, and true (Schemathesis against a real server)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paceline.base.api import ModelCard
from paceline.flow.limiter import LimitPolicy
from paceline.serve.openapi import openapi
from paceline.serve.policy import AuthPolicy
from paceline.serve.problem import STATUS

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
    description = openapi(cards, secured=True)

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
        check = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--seed", "7"),
                *("--max-examples", "20", "--no-color", "--phases", "examples,coverage,fuzzing"),
                *("--header", "Authorization: Bearer secret"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
                "PYTHONPATH": str(Path(__file__).parent),
            },
        )

    assert check.returncode == 0, check.stdout[-6000:] + check.stderr[-2000:]

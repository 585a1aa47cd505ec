"""Texts as records and as queries over HTTP, embedded on the way."""

from __future__ import annotations

import numpy as np
import pytest
from embedder import DIMENSIONS, vector_of
from vectors_caller import ROWS, ids, told

from paceline.base.errors import InvalidRequest


@pytest.fixture
def texts(calling):
    """A caller of a server whose collection `demo` holds three texts."""
    made = calling()
    made.post("/v1/collections", json={"name": "demo"})
    items = [
        {"id": word, "text": word, "metadata": {"letters": len(word)}} for word in ("sea", "dog", "tree")
    ]
    items.append({"id": "given", "values": ROWS[0]})
    assert made.post("/v1/vectors/upsert", json={"vectors": items}).status_code == 200
    return made


def test_texts_are_embedded_in_one_request_and_kept(texts):
    kept = texts.get("/v1/vectors/fetch?ids=dog").json()["vectors"]["dog"]

    assert texts.house.embedder.calls == 1
    assert kept["metadata"] == {"letters": 3, "text": "dog"}
    np.testing.assert_allclose(kept["values"], np.frombuffer(vector_of("dog"), "<f4"), rtol=1e-6)


@pytest.mark.parametrize("path", ["/v1/search", "/v1/collections/demo/search"])
def test_a_text_finds_the_records_nearest_to_its_vector(texts, path):
    reply = texts.post(path, json={"text": "dog", "topK": 1, "filter": {"letters": 3}})

    assert ids(reply) == ["dog"]
    assert reply.json()["matches"][0]["metadata"]["text"] == "dog"


def test_a_search_asked_again_needs_neither_model_nor_search(texts):
    first, again = (texts.post("/v1/search", json={"text": "a new text"}) for _ in range(2))

    assert texts.house.embedder.calls == 2
    assert (first.headers.get("x-paceline-cache"), again.headers["x-paceline-cache"]) == (None, "l1")
    assert first.json() == again.json()


def test_a_model_that_does_not_fit_the_collection_is_named(texts):
    texts.post("/v1/collections", json={"name": "three", "dimension": 3})
    reply = texts.post("/v1/collections/three/search", json={"text": "dog"})

    assert told(reply) == (400, "invalid_request", "text")
    assert "model 'tiny' makes vectors of 8 numbers, those of collection 'three' have 3" in reply.text


def test_a_text_at_fault_is_named_by_its_place_among_the_records(texts):
    texts.house.embedder.error = InvalidRequest("input[1] is longer than the window", param="input[1]")
    items = [{"id": "a", "text": "a"}, {"id": "b", "values": ROWS[0]}, {"id": "c", "text": "c"}]
    reply = texts.post("/v1/vectors/upsert", json={"vectors": items})

    assert told(reply) == (400, "invalid_request", "vectors[2].text")
    assert reply.json()["detail"].startswith("vectors[2].text is longer")


def test_without_a_model_texts_say_what_to_set(calling):
    made = calling(embedders=[])
    made.post("/v1/collections", json={"name": "demo", "dimension": DIMENSIONS})

    searched = made.post("/v1/search", json={"text": "dog"})
    upserted = made.post("/v1/vectors/upsert", json={"vectors": [{"id": "a", "text": "a"}]})
    created = made.post("/v1/collections", json={"name": "other"})

    assert told(searched) == told(upserted) == (404, "not_found", "text")
    assert told(created) == (400, "invalid_request", "dimension")
    assert all("set embed.model" in reply.text for reply in (searched, upserted, created))


def test_a_model_that_is_not_there_is_named(texts):
    assert told(texts.post("/v1/search", json={"text": "dog", "model": "other"})) == (
        404,
        "not_found",
        "model",
    )

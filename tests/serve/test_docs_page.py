"""The docs page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from paceline.base.errors import all_errors


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))


def page(house):
    reply = house.call("GET", "/docs")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    return reply.body.decode()


def test_every_operation_and_every_error_has_its_place(house):
    tags = Tags()
    tags.feed(page(house))

    ids = {attributes.get("id") for _, attributes in tags.seen}
    operations = {
        operation["operationId"]
        for methods in house.call("GET", "/openapi.json").json()["paths"].values()
        for method, operation in methods.items()
        if method != "parameters"
    }
    assert operations <= ids
    assert {error.code for error in all_errors()} <= ids


def test_it_needs_nothing_from_elsewhere(house):
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page(house))


def test_it_follows_the_readers_colours(house):
    assert "color-scheme:light dark" in page(house)


def test_a_box_writes_where_a_model_generates(house, writing):
    assert '<section id="writer">' not in page(house)
    assert "<option>letters</option>" in page(writing)


def test_every_operation_of_generation_has_its_place(writing):
    tags = Tags()
    tags.feed(page(writing))

    ids = {attributes.get("id") for _, attributes in tags.seen}
    assert {"createCompletion", "createChatCompletion", "inference", "infer", "score"} <= ids


def test_the_search_box_is_there_where_vectors_are_on(build, house, vectors):
    assert 'id="searcher"' in page(build(vectors=vectors))
    assert 'id="searcher"' not in page(house)
    assert 'id="searcher"' not in page(build(vectors=vectors, embedders=[], generating=True))


def test_parameters_of_a_query_string_have_their_fields(build, vectors):
    text = page(build(vectors=vectors))

    assert 'data-method="GET" data-path="/v1/vectors/fetch"' in text
    assert '<input data-query="ids">' in text

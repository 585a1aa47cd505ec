"""Requests are valid HTTP/1.1 as httptools, the parser of many servers, reads it."""

from __future__ import annotations

import httptools
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline import __version__
from paceline.base.errors import ConfigError
from paceline.measure.load.request import requests, serialise
from paceline.measure.load.trace import load_trace
from paceline.measure.plan import Expect, OpenLoop, Payload, Plan, Replay, Stage, Target


class Read:
    """A request as a server reads it."""

    def __init__(self, raw):
        self.url, self.headers, self.body, self.ended = b"", [], b"", 0
        self._parser = parser = httptools.HttpRequestParser(self)
        parser.feed_data(raw)
        self.method, self.version = parser.get_method().decode(), parser.get_http_version()

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        self.headers.append((name.decode().lower(), value.decode("latin-1")))

    def on_headers_complete(self):
        self.keeps_alive = self._parser.should_keep_alive()

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.ended += 1

    def __getitem__(self, name):
        (value,) = [value for known, value in self.headers if known == name]
        return value


def plan(url="http://h:81/a?b=c", *, payload=None, expect=None, keep_alive=True, load=None, **target):
    return Plan(
        Target(url, **target),
        load or OpenLoop((Stage(1, 1),)),
        payload=payload or Payload(),
        expect=expect or Expect(),
        keep_alive=keep_alive,
    )


def test_a_get_says_who_asks_and_where():
    read = Read(serialise(plan(), None))

    assert (read.method, read.url, read.version, read.ended) == ("GET", b"/a?b=c", "1.1", 1)
    assert read.headers == [("host", "h:81"), ("user-agent", f"paceline/{__version__}"), ("accept", "*/*")]
    assert read.keeps_alive


@given(st.binary())
def test_a_body_is_posted_whole_with_its_length(body):
    read = Read(serialise(plan(), body))

    assert (read.method, read.body, read["content-length"], read.ended) == ("POST", body, str(len(body)), 1)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"a": 1}', "application/json"),
        (b" [1]", "application/json"),
        (b"{half", "application/octet-stream"),
        (b"text", "application/octet-stream"),
        (b"\xff", "application/octet-stream"),
    ],
)
def test_a_body_is_called_json_when_it_is(body, kind):
    assert Read(serialise(plan(), body))["content-type"] == kind


@pytest.mark.parametrize(
    ("payload", "accept"),
    [
        (Payload("chat"), "application/json"),
        (Payload("chat", stream=True), "text/event-stream"),
        (Payload("http", stream=True), "text/event-stream"),
    ],
)
def test_streams_are_asked_for(payload, accept):
    assert Read(serialise(plan(payload=payload), b"{}"))["accept"] == accept


def test_headers_of_the_user_replace_ours_whatever_their_case():
    mine = {"USER-AGENT": "me", "host": "other", "Content-type": "text/csv", "Authorization": "Bearer é "}
    read = Read(serialise(plan(headers=mine), b"a,b"))

    assert [read[name] for name in ("user-agent", "host", "content-type", "authorization")] == [
        "me",
        "other",
        "text/csv",
        "Bearer é",
    ]


def test_without_keep_alive_the_connection_is_closed():
    assert not Read(serialise(plan(keep_alive=False), None)).keeps_alive


def test_a_post_without_a_body_has_the_length_0():
    read = Read(serialise(plan(method="post"), None))

    assert (read.method, read["content-length"], read.ended) == ("POST", "0", 1)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"headers": {"X": "a\r\nY: b"}}, "header X has a line break"),
        ({"headers": {"X": "a\0"}}, "or a NUL"),
        ({"headers": {"X y": "a"}}, "'X y' is no header name"),
        ({"headers": {"": "a"}}, "'' is no header name"),
        ({"headers": {"X\n": "a"}}, "no header name"),
        ({"headers": {"X": "語"}}, "outside Latin-1"),
        ({"headers": {"content-Length": "3"}}, "content-Length cannot be set: it is counted"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "sent whole"),
        ({"headers": {"Connection": "close"}}, "keep_alive decides it"),
        ({"headers": {"Expect": "100-continue"}}, "whole at once"),
        ({"method": "HEAD"}, "HEAD is not measured, its answer has no body; use GET"),
        ({"method": "GET /"}, "'GET /' is no HTTP method"),
        ({"method": ""}, "'' is no HTTP method"),
    ],
)
def test_what_cannot_be_sent_is_refused(target, message):
    with pytest.raises(ConfigError, match=message):
        serialise(plan(**target), None)


def test_a_secret_in_a_wrong_header_is_not_shown():
    with pytest.raises(ConfigError) as refusal:
        serialise(plan(headers={"Authorization": "Bearer secret\n"}), None)

    assert "secret" not in refusal.value.message


def test_compressed_answers_are_refused_where_they_are_read():
    mine = {"Accept-Encoding": "gzip"}

    assert Read(serialise(plan(headers=mine), None))["accept-encoding"] == "gzip"
    for wanted in ({"payload": Payload("chat")}, {"expect": Expect(json=True)}):
        with pytest.raises(ConfigError, match="compressed answers"):
            serialise(plan(headers=mine, **wanted), None)


def test_every_different_request_of_a_run_is_rendered():
    made = [Read(raw) for raw in requests(plan("http://h", payload=Payload("embeddings", distinct=5)), None)]

    assert len({read.body for read in made}) == 5
    assert {read.url for read in made} == {b"/v1/embeddings"}
    assert all(len(msgspec.json.decode(read.body)["input"].split()) == 16 for read in made)


def test_a_trace_of_plain_http_has_its_own_methods_and_paths(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text('at_s,method,path,body\n0,GET,/a?x=ä,\n1,POST,/b,"{""q"": 1}"\n2,,,\n3,DELETE,/c,\n')
    wanted = plan("http://h/default", load=Replay(str(file)))
    made = [Read(raw) for raw in requests(wanted, load_trace(wanted))]

    assert [(read.method, read.url, read.body) for read in made] == [
        ("GET", b"/a?x=%C3%A4", b""),
        ("POST", b"/b", b'{"q": 1}'),
        ("GET", b"/default", b""),
        ("DELETE", b"/c", b""),
    ]

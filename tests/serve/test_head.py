"""Heads of requests, read once."""

from __future__ import annotations

import pytest

from paceline.serve.head import Head, read_head

PLAIN = [b"POST /v1/embeddings HTTP/1.1", b"host: x", b"content-length: 17"]


def raw(*lines):
    return b"\r\n".join(lines) + b"\r\n\r\n"


def test_a_plain_post_is_read():
    head = read_head(raw(*PLAIN, b"X-Request-ID: Aa", b"Accept: one", b"aCCEPT:two "))

    assert head == Head(
        "/v1/embeddings",
        {b"host": b"x", b"content-length": b"17", b"x-request-id": b"Aa", b"accept": b"two "},
        17,
    )


def test_the_same_bytes_are_read_once():
    assert read_head(raw(*PLAIN)) is read_head(raw(*PLAIN))


@pytest.mark.parametrize(
    "lines",
    [
        [b""],
        [b"nonsense"],
        [b"GET /v1/embeddings HTTP/1.1", *PLAIN[1:]],
        [b"HEAD /v1/embeddings HTTP/1.1", *PLAIN[1:]],
        [b"CONNECT x:1 HTTP/1.1", *PLAIN[1:]],
        [b"POST /v1/embeddings HTTP/1.0", *PLAIN[1:]],
        [b"POST /v1/embeddings HTTP/1.0", *PLAIN[1:], b"connection: keep-alive"],
        [b"POST /v1/embeddings?x=1 HTTP/1.1", *PLAIN[1:]],
        [b"POST /v1/embeddings#x HTTP/1.1", *PLAIN[1:]],
        [b"POST /v1/embed%64ings HTTP/1.1", *PLAIN[1:]],
        [b"POST http://x/v1/embeddings HTTP/1.1", *PLAIN[1:]],
        [*PLAIN, b"connection: close"],
        [*PLAIN, b"Connection: Upgrade", b"Upgrade: websocket"],
        [*PLAIN, b"expect: 100-continue"],
        [*PLAIN, b"content-length: 17"],
        [*PLAIN[:2], b"transfer-encoding: chunked"],
        [*PLAIN, b"transfer-encoding: chunked"],
        PLAIN[:2],
        [*PLAIN[:2], b"content-length: 0"],
        [*PLAIN[:2], b"content-length: +5"],
        [*PLAIN[:2], b"content-length: " + b"0" * 5000 + b"5"],
        [*PLAIN[:2], b"content-length: " + b"9" * 40],
        [*PLAIN, b"\nPOST /v1/embeddings HTTP/1.1", *PLAIN[1:]],
        [*PLAIN, b"no colon"],
        [*PLAIN, b"folded: a", b" b", b"nul: \0"],
    ],
)
def test_anything_else_is_left_to_the_ordinary_path(lines):
    assert read_head(raw(*lines)) is None

"""Request bodies."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.api import EmbedRequest
from paceline.base.errors import InvalidRequest, PayloadTooLarge
from paceline.serve.decode import CallerLeft, Decoder, read_body
from paceline.serve.problem import UnsupportedMedia

decode = Decoder(EmbedRequest).decode


def read(messages, max_bytes=10, **headers):
    left = iter(messages)

    async def receive():
        return next(left)

    return asyncio.run(
        read_body(receive, {name.encode(): value for name, value in headers.items()}, max_bytes)
    )


def piece(body, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_may_come_in_pieces():
    assert read([piece(b"abc", more=True), piece(b"", more=True), piece(b"def")]) == b"abcdef"


def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read():
    with pytest.raises(PayloadTooLarge, match="11 bytes or more, the limit is 10"):
        read([], **{"content-length": b"11"})


def test_an_undeclared_one_is_refused_at_the_piece_that_breaks_the_limit():
    def endless():
        yield piece(b"12345678", more=True)
        yield piece(b"9ab", more=True)
        raise AssertionError("read on beyond the limit")

    with pytest.raises(PayloadTooLarge):
        read(endless())


def test_a_single_piece_has_the_same_limit():
    with pytest.raises(PayloadTooLarge):
        read([piece(b"0123456789a")])


def test_a_caller_may_leave_while_sending():
    with pytest.raises(CallerLeft):
        read([piece(b"abc", more=True), {"type": "http.disconnect"}])


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        (b"", "the body is not JSON", None),
        (b"{", "the body is not JSON", None),
        (b"nul", "the body is not JSON", None),
        (b'{"input":"\xff"}', "the body is not JSON", None),
        (b'{"input":"\\ud800"}', "the body is not JSON", None),
        (b"[" * 100_000, "body: Expected `object`, got `array`", None),
        (b'{"input":' + b"[" * 100_000, r"input\[0\]\[0\]: Expected `int`", "input[0][0]"),
        (b"{}", "body: Object missing required field `input`", None),
        (b'{"input":1}', "input: Expected `str | array`, got `int`", "input"),
        (b'{"input":["a",null]}', r"input\[1\]: Expected", "input[1]"),
        (b'{"input":[-1]}', r"input\[0\]: Expected `int` >= 0", "input[0]"),
        (b'{"input":[99999999999999999999999]}', r"input\[0\]: Expected `int` <= 2147483647", "input[0]"),
        (b'{"input":"a","dimensions":0}', "dimensions: Expected `int` >= 1", "dimensions"),
        (
            b'{"input":"a","encoding_format":"hex"}',
            "encoding_format: Invalid enum value 'hex'",
            "encoding_format",
        ),
        (b'{"input":"a","inptu":1}', "body: Object contains unknown field `inptu`", None),
    ],
)
def test_what_is_wrong_is_named(body, message, param):
    with pytest.raises(InvalidRequest, match=message.replace("|", r"\|")) as raised:
        decode(body, {})

    assert raised.value.param == param


@given(st.binary(max_size=200))
def test_no_body_does_worse_than_an_invalid_request(body):
    request = None
    with contextlib.suppress(InvalidRequest):
        request = decode(body, {})

    assert request is None or isinstance(request, EmbedRequest)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded",
        "text/plain",
        "",
    ],
)
def test_whatever_does_not_say_otherwise_is_json(kind):
    assert decode(b'{"input":"a"}', {b"content-type": kind.encode()}) == EmbedRequest(input="a")


def test_messagepack_is_read_by_its_type():
    body = msgspec.msgpack.encode({"input": ["a"], "dimensions": 4})

    request = decode(body, {b"content-type": b"application/msgpack"})

    assert request == EmbedRequest(input=["a"], dimensions=4)


@pytest.mark.parametrize(
    "headers",
    [
        {b"content-type": b"multipart/form-data; boundary=x"},
        {b"content-type": b"image/png"},
        {b"content-type": b"application/json", b"content-encoding": b"gzip"},
    ],
)
def test_foreign_types_and_codings_are_refused(headers):
    with pytest.raises(UnsupportedMedia, match="is not read here"):
        decode(b"{}", headers)

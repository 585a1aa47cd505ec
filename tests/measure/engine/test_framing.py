"""Where answers end: the template must say what the parser says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.measure.engine.framing import Framing, Malformed, Template, template_of

OK = b"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 01:02:03 GMT\r\nContent-Length: 3\r\n\r\nyes"


def whole(data: bytes, pieces: int = 1) -> Framing:
    framing = Framing()
    step = max(1, len(data) // pieces)
    for at in range(0, len(data), step):
        framing.feed(data[at : at + step])
    return framing


@pytest.mark.parametrize(
    "data",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nyes\r\n0\r\nTrailer: 1\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 300\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
    ],
)
@pytest.mark.parametrize("pieces", [1, 2, 1000])
def test_an_answer_ends_with_its_last_byte_however_it_is_cut(data, pieces):
    before = whole(data[:-1], pieces)
    after = whole(data, pieces)

    assert not before.complete
    assert after.complete
    assert after.keep_alive
    assert not after.excess


def test_the_status_is_that_of_the_real_answer_not_of_an_interim_one():
    assert whole(b"HTTP/1.1 100 Continue\r\n\r\n" + OK).status == 200


def test_an_answer_without_a_length_ends_when_the_server_closes():
    data = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nas much as there is"

    assert not whole(data).complete
    assert whole(data).ends_by_close()
    assert not whole(data[:20]).ends_by_close()
    assert not whole(OK[:-1]).ends_by_close()


def test_more_than_one_answer_is_excess():
    assert whole(OK + OK).excess
    assert not whole(OK).excess


def test_what_is_not_http_is_malformed():
    with pytest.raises(Malformed):
        whole(b"SSH-2.0-OpenSSH_9.2\r\n")


def test_a_server_that_will_close_says_so():
    assert not whole(OK.replace(b"Date: Sun,", b"Connection: close\r\nDate: Sun,")).keep_alive


def test_the_next_answer_begins_anew():
    framing = whole(OK)
    framing.next()

    assert not framing.feed(OK[:-1])
    assert framing.feed(OK[-1:])


def template(data: bytes) -> Template | None:
    return template_of(data, whole(data))


def test_a_template_fits_what_differs_in_values_of_the_same_length_only():
    made = template(OK)
    assert made is not None

    assert made.fits(OK.replace(b"01:02:03", b"01:02:04").replace(b"yes", b"no!"))
    assert not made.fits(OK[:-1])
    assert not made.fits(OK + b"!")
    assert not made.fits(OK.replace(b"200 OK", b"500 No"))
    assert not made.fits(OK.replace(b"Length: 3", b"Length: 4"))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nyes",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 300\r\n\r\n",
        OK + OK,
    ],
)
def test_other_framings_make_no_template(data):
    assert template(data) is None


names = st.sampled_from([b"Content-Length", b"content-length", b"Server", b"X-Note", b"Transfer-Encoding"])
values = st.sampled_from([b"3", b"4", b"12", b"chunked", b"x", b"yes"])
answers = st.builds(
    lambda headers, body: (
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in headers) + b"\r\n" + body
    ),
    st.lists(st.tuples(names, values), max_size=4),
    st.sampled_from([b"yes", b"abcd", b"", b"\r\n\r\n", b"Content-Length: 3\r\n\r\nyes"]),
)


@given(answers, answers)
def test_what_fits_a_template_is_whole_for_the_parser_too(one, other):
    try:
        first = whole(one)
        made = template_of(one, first) if first.complete else None
    except Malformed:
        made = None
    if made is None or not made.fits(other):
        return
    second = whole(other)

    assert second.complete
    assert not second.excess
    assert second.keep_alive
    assert second.status == made.status

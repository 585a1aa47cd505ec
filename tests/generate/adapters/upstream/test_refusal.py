"""An upstream's failures as errors of ours."""

import json
import time
from email.utils import formatdate

import httpx
import pytest

from paceline.base.errors import (
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PayloadTooLarge,
)
from paceline.generate.adapters.upstream.refusal import of_event, of_reply, of_transport

NONE = httpx.Headers()


def told(message="m", **more):
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (422, InvalidRequest),
        (404, NotFound),
        (413, PayloadTooLarge),
        (408, DeadlineExceeded),
        (401, EngineError),
        (403, EngineError),
        (500, EngineError),
        (502, EngineError),
        (503, EngineError),
    ],
)
def test_a_status_has_its_error(status, kind):
    """A key that the upstream refuses is our fault, not our caller's."""
    error = of_reply(status, NONE, told())

    assert type(error) is kind
    assert error.message.startswith(f"the upstream answers {status}: m")
    assert ("generate.upstream.key" in error.message) == (status in {401, 403})


def test_message_and_param_of_a_refusal_are_passed_on():
    """The caller learns what the upstream had to say."""
    error = of_reply(400, NONE, told("top_k must be positive", param="top_k"))

    assert error.message == "the upstream answers 400: top_k must be positive"
    assert error.param == "top_k"


def test_a_prompt_beyond_the_context_is_too_large():
    """OpenAI says so by a code under status 400."""
    assert type(of_reply(400, NONE, told(code="context_length_exceeded"))) is PayloadTooLarge


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_upstream_s_patience_is_ours(status):
    """`Retry-After` in seconds."""
    error = of_reply(status, httpx.Headers({"retry-after": "7"}), told())

    assert type(error) is Overloaded
    assert error.retry_after_s == 7.0


def test_retry_after_may_be_a_date():
    """The other spelling of RFC 9110."""
    error = of_reply(429, httpx.Headers({"retry-after": formatdate(time.time() + 100, usegmt=True)}), b"")

    assert 95 < error.retry_after_s <= 100


@pytest.mark.parametrize("value", ["", "soon"])
def test_an_overloaded_upstream_that_names_no_time_is_given_a_second(value):
    """Unreadable is like absent."""
    assert of_reply(429, httpx.Headers({"retry-after": value}), b"").retry_after_s == 1.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (b"\xff", "\ufffd"),
        (b'{"error": "plain"}', "plain"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b"", "without a message"),
    ],
)
def test_foreign_bodies_are_shown(content, message):
    """Not everything between us and the upstream speaks OpenAI's protocol."""
    assert of_reply(502, NONE, content).message == f"the upstream answers 502: {message}"


def test_an_event_can_report_a_failure():
    """Once the stream has begun the status cannot; a code among the statuses is one."""
    assert type(of_event(told("bad", code=400))) is InvalidRequest
    assert type(of_event(told("dead"))) is EngineError
    assert type(of_event(b'{"error": "dead"}')) is EngineError
    assert of_event(b'{"choices": []}') is None
    assert of_event(b"[]") is None


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (httpx.ReadTimeout(""), DeadlineExceeded, "silent for 3 s"),
        (httpx.ConnectTimeout(""), EngineError, "no connection"),
        (httpx.PoolTimeout(""), Overloaded, "every connection"),
        (httpx.ConnectError("refused"), EngineError, "refused"),
        (httpx.RemoteProtocolError(""), EngineError, "RemoteProtocolError"),
    ],
)
def test_a_connection_s_fault_has_its_error(fault, kind, words):
    """Waiting for a connection of our own pool is no fault of the upstream's."""
    error = of_transport(fault, "http://u/v1", 3.0)

    assert type(error) is kind
    assert words in error.message
    assert "http://u/v1" in error.message

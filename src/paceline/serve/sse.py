"""Server-sent events: how a stream's pieces, its end and its failure are written."""

from __future__ import annotations

from paceline.base.errors import PacelineError
from paceline.serve.http_protocol import Header
from paceline.serve.problem import problem_body

HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would collect the pieces
)
BEGIN = b"data: "
END = b"\n\n"
DONE = b"data: [DONE]\n\n"


def failure(error: PacelineError, request_id: str) -> bytes:
    """The last event of a stream that fails: the problem, with the `error` inside that OpenAI's clients raise."""
    return b"event: error\ndata: %b\n\n" % problem_body(error, request_id)

"""Errors as problem details."""

from __future__ import annotations

import json

import pytest

from paceline.base.errors import (
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    Unauthorised,
)
from paceline.serve.problem import problem_body, status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequest("no"), 400),
        (Unauthorised("no"), 401),
        (NotFound("no"), 404),
        (PayloadTooLarge("no"), 413),
        (RateLimited("no", retry_after_s=1), 429),
        (ConfigError("no"), 500),
        (EngineError("no"), 500),
        (Overloaded("no", retry_after_s=1), 503),
        (CircuitOpen("no", retry_after_s=1), 503),
        (DeadlineExceeded("no"), 504),
    ],
)
def test_statuses(error, status):
    assert status_of(error) == status


def test_an_error_without_a_line_in_the_table_has_its_parents_status():
    class Unheard(Overloaded):
        pass

    assert status_of(Unheard("no", retry_after_s=1)) == 503


def test_a_problem_is_rfc_9457_with_openais_error_inside():
    body = json.loads(problem_body(InvalidRequest("input is empty", param="input"), "r-1"))

    assert body == {
        "type": "/docs#invalid_request",
        "title": "The request is wrong",
        "status": 400,
        "detail": "input is empty",
        "code": "invalid_request",
        "request_id": "r-1",
        "param": "input",
        "error": {
            "message": "input is empty",
            "type": "invalid_request_error",
            "param": "input",
            "code": "invalid_request",
        },
    }


def test_a_refusal_says_when_to_come_back():
    assert json.loads(problem_body(RateLimited("no", retry_after_s=1.23456), "r"))["retry_after_s"] == 1.235

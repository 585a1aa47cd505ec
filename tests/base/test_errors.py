"""The error tree: every class has its own code, a status, and a line in the documents."""

from __future__ import annotations

import pytest

from paceline.base import errors
from paceline.base.errors import Overloaded, PacelineError, Rejected, all_errors, error_of_code
from paceline.serve.problem import STATUS, TITLE

EVERY = [error for error in all_errors() if error.__module__.startswith("paceline.")]


@pytest.mark.parametrize("error", EVERY)
def test_every_error_has_a_status_with_a_title(error):
    assert TITLE[STATUS[error]]


@pytest.mark.parametrize("error", EVERY)
def test_every_error_says_what_it_is_in_a_docstring_of_its_own(error):
    assert error.__doc__ != getattr(error.__base__, "__doc__", None)


def test_codes_are_unique():
    codes = [error.code for error in EVERY]

    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("error", [error for error in EVERY if error.__module__ == errors.__name__])
def test_the_tree_is_drawn_in_the_module(error):
    assert f" {error.__name__} " in f" {errors.__doc__} ".replace("\n", " ")


@pytest.mark.parametrize("error", [error for error in EVERY if error.retryable])
def test_what_may_succeed_later_is_a_server_status_409_or_429(error):
    assert STATUS[error] in {409, 429} or STATUS[error] >= 500


@pytest.mark.parametrize("error", [error for error in EVERY if error.__module__ == errors.__name__])
def test_an_error_crosses_a_wire_by_its_code(error):
    made = error_of_code(error.code, "no", param="input", retry_after_s=2.0)

    assert (type(made), made.message, made.param) == (error, "no", "input")
    assert not isinstance(made, Rejected) or made.retry_after_s == 2.0


def test_an_unknown_code_is_the_root():
    assert type(error_of_code("new_fangled", "no")) is PacelineError


def test_messages_are_kept():
    error = Overloaded("the queue is full", retry_after_s=0.5, param="input")

    assert (str(error), error.param, error.retry_after_s) == ("the queue is full", "input", 0.5)

"""Patience: tries and time of one call, on a clock of our own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import EngineError, InvalidRequest, Overloaded
from paceline.client.retries import Patience, Retries


class Hand:
    """A clock moved by hand."""

    now = 100.0

    def __call__(self):
        return self.now


FAULT = EngineError("broken")


def test_an_error_that_will_stay_ends_it():
    patience = Patience(Retries(), 10.0, Hand())

    with pytest.raises(InvalidRequest):
        patience.pause_s(InvalidRequest("no"))


def test_the_last_try_ends_it():
    patience = Patience(Retries(attempts=2), 10.0, Hand())

    assert patience.pause_s(FAULT) < 10
    with pytest.raises(EngineError):
        patience.pause_s(FAULT)


@given(st.floats(0, 2), st.floats(1, 5), st.floats(0, 10))
def test_back_off_grows_and_is_bounded(first, multiplier, longest):
    retries = Retries(attempts=6, first_wait_s=first, multiplier=multiplier, max_wait_s=longest)
    patience = Patience(retries, 1000.0, Hand())

    pauses = [patience.pause_s(FAULT) for _ in range(5)]

    assert all(0 <= pause <= min(first * multiplier**n, longest) for n, pause in enumerate(pauses))


def test_what_the_server_asks_for_comes_first():
    patience = Patience(Retries(), 10.0, Hand())

    pause_s = patience.pause_s(Overloaded("full", retry_after_s=3.0))

    assert 3.0 <= pause_s <= 3.1


def test_no_wait_begins_that_the_call_would_not_outlive():
    clock = Hand()
    patience = Patience(Retries(), 10.0, clock)
    clock.now += 8.0

    assert patience.left_s() == 2.0
    with pytest.raises(Overloaded):
        patience.pause_s(Overloaded("full", retry_after_s=2.0))


def test_what_is_left_is_never_nothing():
    clock = Hand()
    patience = Patience(Retries(), 1.0, clock)
    clock.now += 5.0

    assert patience.left_s() == 0.001

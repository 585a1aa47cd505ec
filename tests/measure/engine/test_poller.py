"""Waiting for sockets and for exact moments."""

from __future__ import annotations

import socket
import sys
import time

import pytest

from paceline.measure.engine.poller import READ, WRITE, EpollPoller, SelectPoller

POLLERS = [
    pytest.param(EpollPoller, marks=pytest.mark.skipif(sys.platform != "linux", reason="needs epoll")),
    SelectPoller,
]


@pytest.fixture(params=POLLERS)
def poller(request):
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def pair():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def wait(poller, until_ns):
    """What sockets have to say when the wait is over; the alarm is noticed as the engine does it."""
    events = dict(poller.poll(until_ns))
    if poller.alarm in events:
        poller.rang(events.pop(poller.alarm))
    return events


def test_it_wakes_at_the_moment_and_not_before(poller):
    until_ns = time.monotonic_ns() + 3_000_000

    events = wait(poller, until_ns)

    assert events == {}
    assert time.monotonic_ns() >= until_ns


def test_a_moment_that_has_passed_does_not_wait(poller):
    assert wait(poller, time.monotonic_ns() - 1_000_000) == {}
    assert wait(poller, 0) == {}


def test_a_socket_wakes_it_before_the_moment(poller, pair):
    one, other = pair
    poller.add(one.fileno(), READ)
    other.send(b"x")
    until_ns = time.monotonic_ns() + 60_000_000_000

    events = wait(poller, until_ns)

    assert events == {one.fileno(): READ}
    assert time.monotonic_ns() < until_ns


def test_an_alarm_that_rang_unnoticed_does_not_ring_for_the_next_moment(poller, pair):
    one, other = pair
    poller.add(one.fileno(), READ)
    poller.poll(time.monotonic_ns() + 1_000_000)
    other.send(b"x")

    assert dict(poller.poll(time.monotonic_ns() + 60_000_000_000)) == {one.fileno(): READ}


def test_what_is_watched_can_change_and_end(poller, pair):
    one, other = pair
    poller.add(one.fileno(), READ)
    poller.change(one.fileno(), READ | WRITE)
    writable = wait(poller, 0)
    poller.change(one.fileno(), READ)
    other.send(b"x")
    readable = wait(poller, time.monotonic_ns() + 1_000_000_000)
    poller.drop(one.fileno())

    assert writable == {one.fileno(): WRITE}
    assert readable == {one.fileno(): READ}
    assert wait(poller, 0) == {}

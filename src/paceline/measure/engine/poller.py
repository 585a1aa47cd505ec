"""Waiting for sockets until an exact moment.

epoll counts its time-outs in milliseconds, which is no pace for a load generator: a timerfd in the same set wakes it
with the precision of the kernel's timers (tens of microseconds). Where there is neither (macOS, BSD), `SelectPoller`
sleeps in the system's own call up to a millisecond before the moment and turns for the rest.
"""

from __future__ import annotations

import ctypes
import os
import select
import selectors
import sys
import time
from typing import Protocol

READ = 1
WRITE = 4
"""As epoll has them; both pollers speak these."""

FOREVER_NS = 1 << 62


class Poller(Protocol):
    """Sockets and one alarm.

    `poll` returns (descriptor, events) pairs; the alarm is one of them where it has a descriptor, and `rang` must be
    called for it.
    """

    alarm: int
    """Descriptor of the alarm, or -1."""

    def rang(self, events: int) -> None:
        """Take notice of the alarm."""

    def add(self, fd: int, events: int) -> None:
        """Watch `fd` from now on."""

    def change(self, fd: int, events: int) -> None:
        """Watch it for other events."""

    def drop(self, fd: int) -> None:
        """Watch it no longer; to be called before it is closed."""

    def poll(self, until_ns: int) -> list[tuple[int, int]]:
        """Wait for events, at most until `until_ns` on the monotonic clock; 0 does not wait."""

    def close(self) -> None:
        """Give everything back."""


def make_poller() -> Poller:
    """The best this system has."""
    return EpollPoller() if sys.platform == "linux" else SelectPoller()


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_ABSOLUTE = 1


class EpollPoller:
    """epoll with a timerfd; the alarm is only set anew when the moment changed."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self.alarm: int = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.alarm < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self._value = _Timer()
        self._pointer = ctypes.byref(self._value)
        self._set_for = 0
        self._epoll = select.epoll()
        self._epoll.register(self.alarm, READ)
        self.add = self._epoll.register
        self.change = self._epoll.modify
        self.drop = self._epoll.unregister
        self._wait = self._epoll.poll

    def rang(self, _events: int) -> None:
        """See `Poller`."""
        self._set_for = 0
        os.read(self.alarm, 8)

    def poll(self, until_ns: int) -> list[tuple[int, int]]:
        """See `Poller`."""
        if not until_ns:
            return self._wait(0, 256)
        if until_ns != self._set_for:
            # Setting it also takes back an alarm that rang and was not noticed.
            value = self._value.value
            value.seconds, value.nanoseconds = divmod(until_ns, 1_000_000_000)
            self._settime(self.alarm, _ABSOLUTE, self._pointer, None)
            self._set_for = until_ns
        return self._wait(-1, 256)

    def close(self) -> None:
        """See `Poller`."""
        self._epoll.close()
        os.close(self.alarm)


class SelectPoller:
    """The system's own selector; pacing costs CPU here, as its time-outs are milliseconds."""

    _COARSE_NS = 1_500_000
    alarm = -1

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def rang(self, _events: int) -> None:
        """See `Poller`: there is nothing to take notice of."""

    def add(self, fd: int, events: int) -> None:
        """See `Poller`."""
        self._selector.register(fd, _selector_events(events))

    def change(self, fd: int, events: int) -> None:
        """See `Poller`."""
        self._selector.modify(fd, _selector_events(events))

    def drop(self, fd: int) -> None:
        """See `Poller`."""
        self._selector.unregister(fd)

    def poll(self, until_ns: int) -> list[tuple[int, int]]:
        """See `Poller`."""
        while True:
            left_ns = until_ns - time.monotonic_ns()
            events = self._selector.select(max(0, left_ns - self._COARSE_NS) / 1e9)
            if events or left_ns <= 0:
                return [
                    (
                        key.fd,
                        READ * bool(mask & selectors.EVENT_READ) | WRITE * bool(mask & selectors.EVENT_WRITE),
                    )
                    for key, mask in events
                ]

    def close(self) -> None:
        """See `Poller`."""
        self._selector.close()


def _selector_events(events: int) -> int:
    return selectors.EVENT_READ * bool(events & READ) | selectors.EVENT_WRITE * bool(events & WRITE)

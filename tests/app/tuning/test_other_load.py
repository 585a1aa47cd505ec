"""What others use of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil

from paceline.app.tuning.other_load import Reading

BUSY = "import time; end = time.monotonic() + 30\nwhile time.monotonic() < end: pass"


def share_while(work, server=()):
    before = Reading.of(list(server))
    work()
    return before.others_percent(Reading.of(list(server)))


def wait():
    time.sleep(0.6)  # processors are counted by the kernel: there is no clock to jump


def test_a_neighbour_at_work_is_seen_and_the_server_at_work_is_not():
    """The same process, once as a stranger and once as the server under tuning."""
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        known = psutil.Process(process.pid)
        stranger, server = share_while(wait), share_while(wait, [known])
        process.kill()

    one_core = 100.0 / (os.cpu_count() or 1)
    assert stranger > 0.4 * one_core
    assert server < stranger - 0.3 * one_core


def test_our_own_work_is_not_a_neighbours():
    def work():
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            pass

    busy, idle = share_while(work), share_while(wait)

    assert busy < idle + 0.4 * 100.0 / (os.cpu_count() or 1)


def test_a_server_that_died_counts_nothing():
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        gone = psutil.Process(process.pid)

    assert Reading.of([gone]).server_s == 0.0

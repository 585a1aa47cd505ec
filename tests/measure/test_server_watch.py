"""A real server in another process is looked at from outside, whatever it answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from paceline.measure.server_watch import TIMEOUT_S, ServerWatch, is_local, read_page


class Running:
    """The server of `leaking_server.py`."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port
        self.url = f"http://127.0.0.1:{port}/v1/anything"

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return answer.read().decode()


@contextmanager
def leaking(metrics: str = "ours") -> Iterator[Running]:
    command = [sys.executable, str(Path(__file__).with_name("leaking_server.py")), metrics]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Running(process, int(process.stdout.readline()))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with leaking() as running:
        yield running


def look(watch, at_s=0.0):
    """With all the patience there is, so that the page is in the sample."""
    return watch.sample(at_s, patience_s=TIMEOUT_S)


def test_the_process_is_found_by_its_port(server):
    watch = ServerWatch(server.url)
    sample = look(watch, 1.5)

    assert sample.at_s == 1.5
    assert sample.source == f"process {server.process.pid}, http://127.0.0.1:{server.port}/metrics"
    assert sample.memory_bytes > 5e6
    assert sample.open_files >= 4


def test_leaked_memory_and_descriptors_are_seen(server):
    watch = ServerWatch(server.url)
    before = look(watch)
    for _ in range(3):
        server.ask("/leak")
    after = look(watch, 1.0)

    assert after.memory_bytes - before.memory_bytes == pytest.approx(24e6, rel=0.3)
    assert 15 <= after.open_files - before.open_files <= 18


def test_children_count(server):
    watch = ServerWatch(server.url)
    before = look(watch)
    server.ask("/child")
    after = look(watch, 1.0)

    assert after.memory_bytes - before.memory_bytes > 30e6


def test_the_processor_is_that_since_the_last_look(server):
    """Judged by time the server spent, against the time that went by on the cores it may use."""
    watch = ServerWatch(server.url)
    first = look(watch)
    started = time.monotonic()
    server.ask("/burn")
    busy = look(watch, 1.0)
    went_by = time.monotonic() - started

    assert first.cpu_percent is None
    assert busy.cpu_percent > 0.5 * 100 * 0.2 / went_by / len(os.sched_getaffinity(0))
    assert busy.cpu_percent <= 110


def test_queue_and_hits_come_from_the_metrics_page(server):
    watch = ServerWatch(server.url)
    first, second = look(watch), look(watch, 1.0)

    assert (first.queue_depth, first.misses) == (7.0, 10.0)
    assert second.hits - first.hits == 10.0


def test_a_process_may_be_named(server):
    watch = ServerWatch("http://127.0.0.1:9/", pid=server.process.pid)

    assert look(watch).source == f"process {server.process.pid}"


def test_a_page_that_is_not_there_is_asked_for_once():
    with leaking("absent") as server:
        watch = ServerWatch(server.url)
        samples = [look(watch, float(at)) for at in range(3)]

        assert server.ask("/asked") == "1"
    assert {sample.queue_depth for sample in samples} == {None}
    assert {sample.source for sample in samples} == {f"process {server.process.pid}"}


def test_a_page_that_makes_no_sense_tells_nothing():
    with leaking("broken") as server:
        sample = look(ServerWatch(server.url))

    assert (sample.queue_depth, sample.hits) == (None, None)
    assert sample.memory_bytes is not None


def test_a_page_that_hangs_holds_nobody_up():
    """The sample comes without it; one question is under way, not one for each sample."""
    before = threading.active_count()
    with leaking("hangs") as server:
        watch = ServerWatch(server.url)
        samples = [watch.sample(float(at), patience_s=0.0) for at in range(5)]
        under_way = threading.active_count() - before

    assert under_way <= 1
    assert all(sample.memory_bytes and sample.queue_depth is None for sample in samples)


def test_a_late_page_is_told_by_a_later_sample(server):
    watch = ServerWatch(server.url)
    watch.sample(0.0, patience_s=0.0)
    samples = [watch.sample(1.0, patience_s=TIMEOUT_S), watch.sample(2.0, patience_s=TIMEOUT_S)]

    assert samples[-1].queue_depth == 7.0
    assert samples[-1].hits > 0


def test_a_server_that_dies_is_unknown_from_then_on():
    with leaking() as server:
        watch = ServerWatch(server.url)
        alive = look(watch)
        server.process.kill()
        server.process.wait()
        gone = look(watch, 1.0)

    assert alive.memory_bytes is not None
    assert (gone.cpu_percent, gone.memory_bytes, gone.open_files, gone.queue_depth) == (None,) * 4


def test_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        sample = look(ServerWatch(f"http://127.0.0.1:{free.getsockname()[1]}"))

    assert (sample.source, sample.memory_bytes, sample.queue_depth) == ("", None, None)


def test_our_own_process_is_not_the_server():
    """As when a test serves from a thread: what we use ourselves says nothing of a server."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0)
        watch = ServerWatch(f"http://127.0.0.1:{listening.getsockname()[1]}")
        sample = watch.sample(0.0, patience_s=0.0)

    assert sample.memory_bytes is None


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("192.0.2.1", False),
        ("no-such-host.invalid", False),
    ],
)
def test_which_hosts_are_this_one(host, local):
    assert is_local(host) == local


# -- the page


def test_other_servers_names_are_known():
    page = """
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 12.0
vllm:prefix_cache_queries_total{engine="0"} 400.0
vllm:prefix_cache_hits_total{engine="0"} 100.0
process_resident_memory_bytes 1.5e+09
process_open_fds 42.0
"""

    assert read_page(page) == {
        "queue_depth": 12.0,
        "hits": 100.0,
        "misses": 300.0,
        "memory_bytes": 1.5e9,
        "open_files": 42.0,
    }
    assert read_page("te_queue_size 5\n") == {"queue_depth": 5.0}


def test_our_own_metrics_page_is_understood():
    """Read from a page that the server itself renders."""
    from paceline.base.instruments import Registry
    from paceline.serve.metrics import Metrics

    metrics = Metrics(Registry())
    metrics.add_stats("queue", lambda: {"depth": 3})
    told = read_page(metrics.page().decode())

    assert told["queue_depth"] == 3.0
    assert (told["hits"], told["misses"]) == (0.0, 0.0)
    assert told["memory_bytes"] > 1e6
    assert told["open_files"] > 2


@pytest.mark.parametrize("value", ["NaN", "+Inf", "many", ""])
def test_values_that_are_no_numbers_are_passed_over(value):
    assert read_page(f"paceline_queue_depth {value}\n") == {}


@pytest.mark.parametrize(
    "page", ["", "<html><body>hello</body></html>", "{}", "paceline_queue_depth{", "\x00\xff"]
)
def test_pages_of_another_kind_tell_nothing(page):
    assert read_page(page) == {}

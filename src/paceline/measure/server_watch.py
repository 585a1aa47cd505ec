"""What the server under test uses and says of itself, looked at from outside, about once a second.

A server on this host is found by the port it listens on and read through the kernel: processor, resident memory, open
files of it and all its children. A server that answers `GET /metrics` in Prometheus' text format also tells its queue
depth and cache hits; of a server elsewhere that page is all there is. Nothing here raises: what cannot be had is None.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

from paceline.measure.records.record import ServerSample

if TYPE_CHECKING:
    import ssl

TIMEOUT_S = 2.0
"""Of one look at the metrics page."""
PATIENCE_S = 0.05
"""How long a sample waits for the page; a page that takes longer is told by the next sample."""
LARGEST_PAGE = 4 * 1024 * 1024

_QUEUES = (
    "paceline_queue_depth",
    "inference_queue_depth",
    "vllm:num_requests_waiting",
    "sglang:num_queue_reqs",
    "te_queue_size",
)
_MEMORY = ("paceline_process_resident_bytes", "process_resident_memory_bytes")
_FILES = ("paceline_process_open_fds", "process_open_fds")
_TIERS = "paceline_cache_replies_total"
_NO_COMPUTE = ("l1", "l2", "l3", "flight")
"""Tiers of `_TIERS` that are hits; `bypass` is neither a hit nor a miss, since no cache was asked."""
_HITS_OF_QUERIES = (
    ("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"),
    ("vllm:gpu_prefix_cache_hits_total", "vllm:gpu_prefix_cache_queries_total"),
)
_LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})?\s+(\S+)(?:\s+-?\d+)?$")

Told = dict[str, float]
"""Of a metrics page: queue_depth, hits, misses, memory_bytes, open_files; only what it says."""


class ServerWatch:
    """Looks at one server; `sample` when a second has passed."""

    def __init__(self, url: str, pid: int | None = None, *, insecure: bool = False) -> None:
        """`pid` spares the search by port; `insecure` accepts any certificate of the metrics page."""
        parts = urlsplit(url)
        self._host = parts.hostname or "localhost"
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._local = is_local(self._host)
        self._given_pid = pid
        self._family: list[psutil.Process] = []
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._looked_at: float | None = None
        self._page = _Page(self._host, self._port, tls=parts.scheme == "https", insecure=insecure)

    @property
    def source(self) -> str:
        """Where the figures come from: `process 4711`, the address of a metrics page, both, or nothing."""
        found = [f"process {self._family[0].pid}"] if self._family else []
        return ", ".join([*found, *([self._page.address] if self._page.answered else [])])

    def sample(self, at_s: float, *, patience_s: float = PATIENCE_S) -> ServerSample:
        """One look. `at_s` is stored as it is given; the share of the processor is of the time since the last look.

        Waits at most `patience_s` for the metrics page. With `TIMEOUT_S` no thread of ours outlives the call, as a
        process needs that is about to fork.
        """
        self._page.ask(patience_s)
        cpu_percent, memory, files = self._look()
        told = self._page.take()
        return ServerSample(
            at_s=at_s,
            source=self.source,
            cpu_percent=cpu_percent,
            memory_bytes=told.get("memory_bytes") if memory is None else memory,
            open_files=told.get("open_files") if files is None else files,
            queue_depth=told.get("queue_depth"),
            hits=told.get("hits"),
            misses=told.get("misses"),
        )

    def processes(self) -> list[psutil.Process]:
        """The server's processes on this machine, the outermost first; none when it is elsewhere, or gone."""
        if not self._local and self._given_pid is None:
            return []
        self._family = self._members()
        return list(self._family)

    def _look(self) -> tuple[float | None, float | None, float | None]:
        """Processor in percent of the cores it may use, resident bytes, open files; of the whole family."""
        if not self._local and self._given_pid is None:
            return None, None, None
        self._family = self._members()
        readings = [reading for member in self._family if (reading := _read(member)) is not None]
        now, before = time.monotonic(), self._looked_at
        self._looked_at = now
        if not readings:
            self._cpu_s = {}
            return None, None, None
        known, self._cpu_s = self._cpu_s, {key: cpu_s for key, cpu_s, _, _ in readings}
        used_s = sum(max(0.0, cpu_s - known.get(key, 0.0)) for key, cpu_s in self._cpu_s.items())
        percent = 100 * used_s / (now - before) / _cores(self._family) if known and before else None
        files = [count for _, _, _, count in readings if count is not None]
        return percent, sum(rss for _, _, rss, _ in readings), sum(files) if files else None

    def _members(self) -> list[psutil.Process]:
        """The server's processes, the outermost first; looked for again when the first is gone."""
        alive = self._family[:1] if self._family and self._family[0].is_running() else []
        roots = alive or self._roots()
        family = {member.pid: member for root in roots for member in (root, *_children(root))}
        return list(family.values())

    def _roots(self) -> list[psutil.Process]:
        try:
            if self._given_pid is not None:
                return [psutil.Process(self._given_pid)]
            return _listeners(self._port)
        except psutil.Error:
            return []


class _Page:
    """The metrics page of a server, asked in a thread of its own, one question at a time."""

    def __init__(self, host: str, port: int, *, tls: bool, insecure: bool) -> None:
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http{'s' if tls else ''}://{shown}:{port}/metrics"
        self.answered = False
        self._host, self._port, self._tls, self._insecure = host, port, tls, insecure
        self._absent = False
        self._asking: threading.Thread | None = None
        self._told: Told = {}

    def ask(self, patience_s: float) -> None:
        """Start a look if none is under way, and wait a moment for it."""
        if self._absent:
            return
        if self._asking is None or not self._asking.is_alive():
            if self._told:  # a late answer, which this sample shall tell
                return
            self._asking = threading.Thread(target=self._fetch, name="paceline-metrics-page", daemon=True)
            self._asking.start()
        self._asking.join(patience_s)

    def take(self) -> Told:
        """What the last answer said; each answer is told once."""
        told, self._told = self._told, {}
        return told

    def _fetch(self) -> None:
        from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415 - 20 ms to import

        try:
            link = (
                HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=_tls(self._insecure))
                if self._tls
                else HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
            )
            try:
                link.request("GET", "/metrics", headers={"Accept": "text/plain", "Connection": "close"})
                answer = link.getresponse()
                if answer.status != 200:
                    # There is no such page: do not fill the server's log with our questions.
                    self._absent = 400 <= answer.status < 500
                    return
                told = read_page(answer.read(LARGEST_PAGE).decode("utf-8", "replace"))
            finally:
                link.close()
        except (OSError, HTTPException, ValueError):
            return
        self.answered = self.answered or bool(told)
        self._absent = not self.answered  # a page, but not one of metrics
        self._told = told


def read_page(text: str) -> Told:
    """Queue depth, cache hits and misses (since the server started), memory and files from Prometheus' text format.

    Knows our own names and those of vLLM, SGLang and TEI; series of one name are added up. vLLM counts hits of its
    prefix cache in tokens.
    """
    values: dict[str, float] = {}
    tiers: dict[str, float] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, labels, value = match.group(1), match.group(2) or "", _number(match.group(3))
        if value is None:
            continue
        if name == _TIERS:
            tier = re.search(r'[{,]tier="([^"]*)"', labels)
            tiers[tier.group(1) if tier else ""] = value
        else:
            values[name] = values.get(name, 0.0) + value
    told = _first(values, queue_depth=_QUEUES, memory_bytes=_MEMORY, open_files=_FILES)
    if tiers:
        told |= {"hits": sum(tiers.get(tier, 0.0) for tier in _NO_COMPUTE), "misses": tiers.get("miss", 0.0)}
        return told
    for hits, queries in _HITS_OF_QUERIES:
        if hits in values and queries in values:
            return told | {"hits": values[hits], "misses": values[queries] - values[hits]}
    return told


def is_local(host: str) -> bool:
    """Whether `host` names this machine: a loopback address, or one of its own."""
    try:
        addresses = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    if any(ipaddress.ip_address(address).is_loopback for address in addresses):
        return True
    own = {entry.address.partition("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries}
    return bool(addresses & own)


def _first(values: Told, **names: tuple[str, ...]) -> Told:
    found = {
        key: next((values[name] for name in known if name in values), None) for key, known in names.items()
    }
    return {key: value for key, value in found.items() if value is not None}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None  # noqa: PLR0124 - NaN


def _listeners(port: int) -> list[psutil.Process]:
    """The processes that listen on `port`, without those that are children of another one."""
    pids = {
        link.pid
        for link in psutil.net_connections(kind="tcp")
        if link.status == psutil.CONN_LISTEN and link.laddr and link.laddr.port == port and link.pid
    }
    processes = [psutil.Process(pid) for pid in sorted(pids - {os.getpid()})]
    return [process for process in processes if not pids & {parent.pid for parent in process.parents()}]


def _children(root: psutil.Process) -> list[psutil.Process]:
    try:
        return root.children(recursive=True)
    except psutil.Error:
        return []


def _read(member: psutil.Process) -> tuple[tuple[int, float], float, float, float | None] | None:
    """Identity, processor seconds so far, resident bytes, open files (None without the permission)."""
    try:
        with member.oneshot():
            times = member.cpu_times()
            key, rss = (member.pid, member.create_time()), float(member.memory_info().rss)
    except psutil.Error:
        return None
    try:
        files: float | None = float(member.num_fds())
    except (psutil.Error, AttributeError):
        files = None
    return key, times.user + times.system, rss, files


def _cores(family: Iterable[psutil.Process]) -> int:
    """How many cores the family may run on."""
    allowed: set[int] = set()
    for member in family:
        try:
            allowed.update(member.cpu_affinity() or ())
        except (psutil.Error, AttributeError):
            continue
    return len(allowed) or psutil.cpu_count() or 1


def _tls(insecure: bool) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - for https only

    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

"""What the server counts, and `/metrics` in Prometheus' text format.

Rendered here rather than by prometheus_client, which takes 6 us a sample: a scrape of a few hundred samples would
hold up every request behind it for milliseconds. Its parser reads our text in the tests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping

import psutil

from paceline.base.instruments import Counter, Histogram, Registry, Snapshot, merge, quantile, sum_counts
from paceline.base.timings import Tier
from paceline.embed.result import EmbedResult
from paceline.flow.batcher import BatchRecord
from paceline.serve.problem import CLIENT_LEFT

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Stats = Callable[[], Mapping[str, float]]
Peers = Callable[[], Iterable[Snapshot]]
"""The snapshots of the other processes of this server."""

_SECONDS_BOUNDS = [(octave * 32 + 64, 2**octave * 64e-6) for octave in range(21)]
_WHOLE_BOUNDS = [(2**k + 1, 2.0**k) for k in range(7)] + [(32 * (k - 4), 2.0**k - 1) for k in range(7, 13)]
"""(first bucket above, `le`): exact boundaries of the histograms' buckets, a few that dashboards need."""

_RENAMED = {"paceline_queue_running": "paceline_active_batches"}
_LARGEST_COUNTS = ("_state", "_seconds", "_ratio", "_open")
"""Gauges of which several processes show the largest, not the sum."""


class RouteMetrics:
    """Counts the replies of one route."""

    __slots__ = ("_answered", "_registry", "_seconds", "path")

    def __init__(self, registry: Registry, path: str) -> None:
        self.path = path
        self._registry = registry
        self._answered: dict[int, Counter] = {}
        self._seconds = registry.histogram(
            "paceline_request_seconds", "From the head of the request to its reply.", route=path
        )

    def count(self, status: int, seconds: float) -> None:
        """Count one reply."""
        try:
            self._answered[status].value += 1
        except KeyError:
            self._answered[status] = self._registry.counter(
                "paceline_requests_total",
                f"Replies by route and status; {CLIENT_LEFT} is a caller that left before.",
                route=self.path,
                status=str(status),
            )
            self._answered[status].value = 1
        self._seconds.record(seconds)


class BatchMetrics:
    """Counts the batches of one engine, in the process that owns it: `lane.on_batch = BatchMetrics(registry).ran`."""

    def __init__(self, registry: Registry) -> None:
        self._rows = registry.histogram("paceline_batch_rows", "Rows in one batch.", unit=1)
        self._cost = registry.histogram("paceline_batch_cost_tokens", "Padded tokens in one batch.", unit=1)
        self._run = registry.histogram("paceline_batch_run_seconds", "Engine time of one batch.")

    def ran(self, record: BatchRecord) -> None:
        """Count one batch that ran."""
        self._rows.record(record.rows)
        self._cost.record(record.cost)
        self._run.record(record.run_s)


class Metrics:
    """The instruments of the request path, and the page that shows them."""

    def __init__(self, registry: Registry, *, peers: Peers = tuple) -> None:
        self.registry = registry
        self._peers = peers
        self._routes: dict[str, RouteMetrics] = {}
        self._tokens = registry.counter(
            "paceline_tokens_total", "Tokens of answered requests, cached ones too."
        )
        self._texts = registry.counter("paceline_texts_total", "Texts of answered requests, cached ones too.")
        self._tiers = {
            tier: registry.counter(
                "paceline_cache_replies_total",
                "Requests by the slowest cache tier that they needed.",
                tier=tier,
            )
            for tier in ("l1", "l2", "l3", "flight", "miss", "bypass")
        }
        self._tokenize = self._stage("tokenize", "Making tokens of the texts of one request.")
        self._queue = self._stage("queue", "From entering the batcher to the start of the batch.")
        self._batch_wait = self._stage("batch_wait", "Deliberate wait for company while an engine was idle.")
        self._run = self._stage("run", "Engine time of the batch that carried the request.")
        _add_process(registry)

    def _stage(self, name: str, description: str) -> Histogram:
        return self.registry.histogram(f"paceline_{name}_seconds", description)

    def route(self, path: str) -> RouteMetrics:
        """The counts of one route, made at the first call."""
        known = self._routes.get(path)
        if known is None:
            known = self._routes[path] = RouteMetrics(self.registry, path)
        return known

    def embedded(self, result: EmbedResult) -> None:
        """Count one answered embedding request."""
        timings = result.timings
        self._tokens.value += result.tokens
        self._texts.value += len(result.vectors)
        self._tiers[timings.cache].value += 1
        if timings.batch_rows:
            self._tokenize.record(timings.tokenize_s)
            self._queue.record(timings.queue_s)
            self._batch_wait.record(timings.batch_wait_s)
            self._run.record(timings.run_s)

    def generated(self, tokens: int, tier: Tier) -> None:
        """Count the tokens, of prompts and answers, of one generation."""
        self._tokens.value += tokens
        self._tiers[tier].value += 1

    def add_stats(self, area: str, stats: Stats, **labels: str) -> None:
        """Show what a part of the server counts itself, as `paceline_<area>_<name>`."""
        self.registry.source(lambda: stats_series(area, stats(), labels))

    def add_areas(self, stats: Callable[[], Mapping[str, Mapping[str, float]]], **labels: str) -> None:
        """The same for a part that counts by area."""
        self.registry.source(
            lambda: [
                series for area, counts in stats().items() for series in stats_series(area, counts, labels)
            ]
        )

    def page(self) -> bytes:
        """The body of `/metrics`, of all processes together."""
        return render(with_recent(merge([self.registry.snapshot(), *self._peers()])))


def stats_series(area: str, stats: Mapping[str, float], labels: Mapping[str, str] = {}) -> Snapshot:
    """A `stats()` dict as series; names in seconds or milliseconds become Prometheus' base units."""
    series: Snapshot = []
    for key, value in stats.items():
        counter = key.endswith("_total")
        stem = key.removesuffix("_total")
        scaled = float(value)
        if stem.endswith("_ms"):
            stem, scaled = f"{stem[:-3]}_seconds", scaled / 1e3
        elif stem.endswith("_s"):
            stem = f"{stem[:-2]}_seconds"
        name = f"paceline_{area}_{stem}"
        told = {"help": f"{stem} of {area}".replace("_", " "), "labels": dict(labels), "value": scaled}
        if counter:
            series.append({"kind": "counter", "name": f"{name}_total", "rate": 0.0, **told})
        else:
            largest = name.endswith(_LARGEST_COUNTS)
            series.append(
                {
                    "kind": "gauge",
                    "name": _RENAMED.get(name, name),
                    "merge": "max" if largest else "sum",
                    **told,
                }
            )
    return series


def with_recent(snapshot: Snapshot) -> Snapshot:
    """`snapshot` and what a table of service levels needs of the last minute."""
    answered = [series for series in snapshot if series["name"] == "paceline_requests_total"]
    calls = [series for series in answered if series["labels"]["route"].startswith("/v1/")]
    rate = sum(series["rate"] for series in calls)
    failed = sum(series["rate"] for series in calls if series["labels"]["status"] >= "500")
    tokens = sum(series["rate"] for series in snapshot if series["name"] == "paceline_tokens_total")
    latencies = sum_counts(
        *(
            series["recent"]
            for series in snapshot
            if series["name"] == "paceline_request_seconds" and series["labels"]["route"].startswith("/v1/")
        )
    )

    def gauge(name: str, description: str, value: float, **labels: str) -> dict[str, object]:
        return {
            "kind": "gauge",
            "name": name,
            "help": description,
            "labels": labels,
            "value": value,
            "merge": "max",
        }

    return [
        *snapshot,
        gauge("paceline_requests_per_second", "Calls of /v1 answered, over the last minute.", rate),
        gauge("paceline_tokens_per_second", "Tokens of answered calls, over the last minute.", tokens),
        gauge(
            "paceline_error_ratio",
            "Share of 5xx among the calls of /v1, over the last minute.",
            failed / rate if rate else 0.0,
        ),
        *(
            {
                **gauge(
                    "paceline_request_latency_seconds",
                    "Quantiles of the calls of /v1 over the last minute.",
                    quantile(latencies, q, 1e-6),
                    quantile=str(q),
                ),
                "kind": "summary",
            }
            for q in (0.5, 0.95, 0.99)
        ),
    ]


def render(snapshot: Snapshot) -> bytes:
    """A snapshot in Prometheus' text format 0.0.4."""
    families: dict[str, list[str]] = {}
    for series in snapshot:
        name = series["name"]
        lines = families.get(name)
        if lines is None:
            lines = families[name] = [f"# HELP {name} {series['help']}", f"# TYPE {name} {series['kind']}"]
        labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in series["labels"].items())
        if series["kind"] == "histogram":
            _render_histogram(lines, name, labels, series["counts"], series["sum"], series["unit"])
        else:
            lines.append(
                f"{name}{{{labels}}} {_number(series['value'])}"
                if labels
                else f"{name} {_number(series['value'])}"
            )
    return "".join(f"{line}\n" for lines in families.values() for line in lines).encode()


def _render_histogram(  # noqa: PLR0913, PLR0917 - private, called once
    lines: list[str], name: str, labels: str, counts: Mapping[int, int], total: float, unit: float
) -> None:
    before = f"{name}_bucket{{{labels}{',' if labels else ''}le="
    buckets = sorted(counts)
    reached = position = 0
    for above, le in _WHOLE_BOUNDS if unit == 1 else _SECONDS_BOUNDS:
        while position < len(buckets) and buckets[position] < above:
            reached += counts[buckets[position]]
            position += 1
        lines.append(f'{before}"{le:.12g}"}} {reached}')
    count = sum(counts.values())
    lines.append(f'{before}"+Inf"}} {count}')
    tail = f"{{{labels}}}" if labels else ""
    lines.append(f"{name}_sum{tail} {_number(total)}")
    lines.append(f"{name}_count{tail} {count}")


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _add_process(registry: Registry) -> None:
    """CPU, memory and files of this process; several processes add up."""
    process = psutil.Process()
    started_at = time.monotonic()
    cpu = "Processor time of the server's processes since they started."
    registry.source(
        lambda: [
            {
                "kind": "counter",
                "name": "paceline_process_cpu_seconds_total",
                "help": cpu,
                "labels": {},
                "value": time.process_time(),
                "rate": 0.0,
            }
        ]
    )
    for name, description, read in (
        (
            "process_resident_bytes",
            "Memory of the server's processes.",
            lambda: float(process.memory_info().rss),
        ),
        ("process_open_fds", "Open files and sockets.", lambda: float(process.num_fds())),
    ):
        registry.gauge(f"paceline_{name}", description, read=read)
    registry.gauge(
        "paceline_uptime_seconds",
        "Since the server started.",
        read=lambda: time.monotonic() - started_at,
        merge="max",
    )

"""What the samples of the server say of the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from paceline.measure.records.record import ServerSample
from paceline.measure.report import Estimate, ServerSeries
from paceline.measure.statistics.quantile import quantile


def server_series(samples: Sequence[ServerSample], hit_percent: float | None = None) -> ServerSeries | None:
    """None without a sample that says anything.

    `hit_percent` is that of the answers themselves where they tell their tier; else it comes from the server's own
    counters, which count everybody's requests.
    """
    told = [
        sample
        for sample in samples
        if any(
            value is not None
            for value in (
                sample.cpu_percent,
                sample.memory_bytes,
                sample.open_files,
                sample.queue_depth,
                sample.hits,
            )
        )
    ]
    if not told:
        return None
    return ServerSeries(
        source=max((sample.source for sample in told), key=len),
        at_s=[sample.at_s for sample in told],
        cpu_percent=[sample.cpu_percent for sample in told],
        memory_bytes=[sample.memory_bytes for sample in told],
        open_files=[sample.open_files for sample in told],
        queue_depth=[sample.queue_depth for sample in told],
        hit_percent=_hits(told) if hit_percent is None else hit_percent,
    )


def server_values(server: ServerSeries, start_s: float, end_s: float) -> dict[str, Estimate]:
    """Values to judge, by name, of the samples from `start_s` to `end_s`; only those that were told.

    The processor on average; the most memory; the 95th percentile of the queue's depth, so that one burst that
    happened to be seen is not the verdict; hits of the whole run.
    """
    inside = [place for place, at in enumerate(server.at_s) if start_s <= at <= end_s]
    if not inside:  # a run of less than a second: the look behind it is of the time since the look before it
        inside = list(range(1, len(server.at_s)))

    def told(column: list[float | None]) -> list[float]:
        return [value for place in inside if (value := column[place]) is not None]

    values: dict[str, Estimate] = {}
    if cpu := told(server.cpu_percent):
        values["cpu_percent"] = Estimate(fmean(cpu))
    if memory := told(server.memory_bytes):
        values["memory_gb"] = Estimate(max(memory) / 1e9)
    if depth := told(server.queue_depth):
        values["queue_depth"] = Estimate(quantile(sorted(depth), 0.95))
    if server.hit_percent is not None:
        values["hit_percent"] = Estimate(server.hit_percent)
    return values


def _hits(samples: Sequence[ServerSample]) -> float | None:
    """From the first count to the last; None when the server counted nothing or began anew."""
    counts = [
        (sample.hits, sample.misses)
        for sample in samples
        if sample.hits is not None and sample.misses is not None
    ]
    if len(counts) < 2:
        return None
    hits, misses = counts[-1][0] - counts[0][0], counts[-1][1] - counts[0][1]
    if hits < 0 or misses < 0 or hits + misses == 0:
        return None
    return 100 * hits / (hits + misses)

"""Counters, gauges and histograms cheap enough for every request, with snapshots that other processes can add up.

An instrument is one series: a name with fixed label values. Hot code keeps the instrument and calls `add` or
`record`; nothing is looked up by label on the way. All belong to one event loop (no locks).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

from paceline.base.clock import Clock, monotonic

Snapshot = list[dict[str, Any]]
"""One plain dict per series: kind, name, help, labels, and
counter: value, rate (per second over the window); gauge: value, merge;
histogram: sum, unit, counts and recent (over the window) by bucket."""

Merge = Literal["sum", "max"]


class Counter:
    """Only goes up."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        """Count `amount` (not negative) more."""
        self.value += amount


class Gauge:
    """Goes up and down; `set` it, or give `read` and it is asked at each snapshot."""

    __slots__ = ("read", "value")

    def __init__(self, read: Callable[[], float] | None = None) -> None:
        self.value = 0.0
        self.read = read

    def set(self, value: float) -> None:
        """Remember the present value."""
        self.value = value


class Histogram:
    """Log-linear buckets: below 64 units exact, above 32 per octave, so at most 3.2 % wide; only used ones exist.

    `unit` is the finest difference told apart (1e-6 s for durations, 1 for counts of things).
    """

    __slots__ = ("_per_unit", "counts", "sum", "unit")

    def __init__(self, unit: float = 1e-6) -> None:
        self.unit = unit
        self._per_unit = 1.0 / unit
        self.counts: dict[int, int] = {}
        self.sum = 0.0

    def record(self, value: float) -> None:
        """Count one value (not negative)."""
        n = int(value * self._per_unit)
        octave = n.bit_length() - 6
        # 32 buckets an octave: the leading bits of n are a 1 and the five that tell the bucket.
        bucket = n if octave <= 0 else (octave << 5) + (n >> octave)
        try:
            self.counts[bucket] += 1
        except KeyError:
            self.counts[bucket] = 1
        self.sum += value

    @property
    def count(self) -> int:
        """Values recorded."""
        return sum(self.counts.values())


def bucket_floor(bucket: int) -> int:
    """The least number of units that counts in `bucket`."""
    octave = (bucket >> 5) - 1
    return bucket if octave <= 0 else (32 + (bucket & 31)) << octave


def quantile(counts: Mapping[int, int], q: float, unit: float) -> float:
    """The `q` quantile (0..1) of bucket counts, as the middle of its bucket; NaN without values."""
    left = max(1, math.ceil(q * sum(counts.values())))
    for bucket in sorted(counts):
        left -= counts[bucket]
        if left <= 0:
            return (bucket_floor(bucket) + bucket_floor(bucket + 1)) / 2 * unit
    return math.nan


Instrument = TypeVar("Instrument", Counter, Gauge, Histogram)


class Registry:
    """Every instrument of one process. `mark` it every few seconds and snapshots know the last `window_s` too."""

    def __init__(self, *, window_s: float = 60.0, clock: Clock = monotonic) -> None:
        self._window_s = window_s
        self._clock = clock
        self._series: list[tuple[dict[str, Any], Counter | Gauge | Histogram]] = []
        self._sources: list[Callable[[], Snapshot]] = []
        self._marks: deque[tuple[float, list[Any]]] = deque([(clock(), [])])

    def counter(self, name: str, description: str, **labels: str) -> Counter:
        """Make a counter; `name` ends in `_total`."""
        return self._added("counter", name, description, labels, Counter())

    def gauge(
        self,
        name: str,
        description: str,
        *,
        read: Callable[[], float] | None = None,
        merge: Merge = "sum",
        **labels: str,
    ) -> Gauge:
        """Make a gauge; `merge` says what the gauges of several processes come to."""
        return self._added("gauge", name, description, labels, Gauge(read), merge=merge)

    def histogram(self, name: str, description: str, *, unit: float = 1e-6, **labels: str) -> Histogram:
        """Make a histogram of values in base units (seconds, rows)."""
        return self._added("histogram", name, description, labels, Histogram(unit), unit=unit)

    def source(self, read: Callable[[], Snapshot]) -> None:
        """Ask `read` for more series at each snapshot."""
        self._sources.append(read)

    def mark(self) -> None:
        """Remember the present counts; the window of a snapshot starts at a mark."""
        now = self._clock()
        self._marks.append((now, [_counted(instrument) for _, instrument in self._series]))
        while len(self._marks) > 1 and self._marks[1][0] <= now - self._window_s:
            self._marks.popleft()

    def snapshot(self) -> Snapshot:
        """Plain lists, dicts, strings and numbers: msgpack carries them to another process."""
        marked_at, marked = self._marks[0]
        seconds = self._clock() - marked_at
        series: Snapshot = []
        for index, (told, instrument) in enumerate(self._series):
            before = marked[index] if index < len(marked) else None
            if isinstance(instrument, Histogram):
                counts = instrument.counts
                recent = {b: n - before.get(b, 0) for b, n in counts.items()} if before else counts
                series.append(
                    {**told, "sum": instrument.sum, "counts": counts.copy(), "recent": recent.copy()}
                )
            elif isinstance(instrument, Counter):
                rate = (instrument.value - (before or 0.0)) / seconds if seconds > 0 else 0.0
                series.append({**told, "value": instrument.value, "rate": rate})
            else:
                series.append({**told, "value": instrument.read() if instrument.read else instrument.value})
        for read in self._sources:
            series += read()
        return series

    def _added(
        self,
        kind: str,
        name: str,
        description: str,
        labels: dict[str, str],
        instrument: Instrument,
        **more: Any,
    ) -> Instrument:
        self._series.append(
            ({"kind": kind, "name": name, "help": description, "labels": labels, **more}, instrument)
        )
        return instrument


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Add up the snapshots of several processes; series known to one of them only stay as they are."""
    merged: dict[tuple[str, ...], dict[str, Any]] = {}
    for snapshot in snapshots:
        for series in snapshot:
            key = (series["name"], *(part for item in sorted(series["labels"].items()) for part in item))
            known = merged.get(key)
            merged[key] = series if known is None else _sum(known, series)
    return list(merged.values())


def _sum(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    match one["kind"]:
        case "counter":
            return {**one, "value": one["value"] + other["value"], "rate": one["rate"] + other["rate"]}
        case "gauge":
            values = one["value"], other["value"]
            return {**one, "value": max(values) if one["merge"] == "max" else sum(values)}
        case _:
            return {
                **one,
                "sum": one["sum"] + other["sum"],
                "counts": sum_counts(one["counts"], other["counts"]),
                "recent": sum_counts(one["recent"], other["recent"]),
            }


def sum_counts(*every: Mapping[int, int]) -> dict[int, int]:
    """Add bucket counts."""
    total: dict[int, int] = {}
    for counts in every:
        for bucket, n in counts.items():
            total[bucket] = total.get(bucket, 0) + n
    return total


def _counted(instrument: Counter | Gauge | Histogram) -> Any:
    match instrument:
        case Counter():
            return instrument.value
        case Histogram():
            return instrument.counts.copy()
        case _:
            return None

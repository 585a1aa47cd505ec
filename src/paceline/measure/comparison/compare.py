"""Whether one run was faster than another: every difference with its interval, and a verdict of the whole.

Three ways, the best that both runs allow:

    paired      same seed and schedule: request i of one run beside request i of the other, which cancels what the
                requests and their arrivals do to both
    unpaired    the requests of both, as samples of two runs
    intervals   without records: the difference of two values with intervals
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from paceline.base.errors import ConfigError
from paceline.measure.analysis.streaming import streams
from paceline.measure.comparison.change import Change, Method, Quantity, Values, Verdict
from paceline.measure.comparison.error_rate import error_percent
from paceline.measure.plan import ClosedLoop
from paceline.measure.records.named_run import NamedRun, open_run
from paceline.measure.records.record import RunFile
from paceline.measure.records.store import Store
from paceline.measure.report import Distribution, Estimate, LoadReport

SCHEMA = "paceline.comparison/1"

MARGIN = 0.05
"""Share of the baseline's value that makes no difference to anybody, unless the user says otherwise."""
ERROR_MARGIN = 0.5
"""The same of error rates, in percentage points: a share of next to nothing would be nothing."""


class Side(msgspec.Struct, frozen=True):
    """One of the two runs."""

    run_id: str
    name: str
    made_at: str
    url: str
    fingerprint: str
    hostname: str
    validity: str


class Comparison(msgspec.Struct, frozen=True):
    """Two runs compared; `a` is the baseline."""

    a: Side
    b: Side
    method: Method
    pairs: int | None
    """Requests that both runs answered well, when they were paired."""
    margin: float
    changes: list[Change]
    verdict: Verdict
    because: str
    warnings: list[str]
    """What to keep in mind: other machines, doubtful runs, different loads."""
    schema: str = SCHEMA


def compare_with_baseline(
    report: LoadReport,
    records: Path | None,
    baseline: str,
    *,
    margin: float = MARGIN,
    store: Store | None = None,
) -> Comparison:
    """A run that was just made beside the one that `baseline` names (never itself).

    Raises ConfigError when there is no such run or one of them is INVALID.
    """
    earlier = open_run(baseline, store or Store(), without=report.run_id)
    return compare(earlier, NamedRun(report, records), margin=margin)


def compare(a: NamedRun, b: NamedRun, *, margin: float = MARGIN, force: bool = False) -> Comparison:
    """Compare run `b` with the baseline `a`; `margin` is a share. Raises ConfigError for INVALID runs unless forced."""
    if not 0 <= margin < 1:
        raise ConfigError(
            f"margin = {margin}: expected a share from 0 to below 1, as 0.05 or 5%", param="margin"
        )
    warnings = [*_refusals(a.report, b.report, force=force), *_warnings(a.report, b.report)]
    samples = _Samples(a, b, (a.run, b.run)) if a.run and b.run else None
    changes = [*_changes(a, b, samples, margin)]
    verdict, because = _overall(changes)
    method = changes[0].method
    pairs = samples.pairs if samples and method == "paired" else None
    if samples and pairs is not None and pairs < 0.9 * samples.requests:
        warnings.append(
            f"only {pairs:,} of {samples.requests:,} requests were answered well by both runs, and only they are paired"
        )
    return Comparison(
        a=_side(a.report),
        b=_side(b.report),
        method=method,
        pairs=pairs,
        margin=margin,
        changes=changes,
        verdict=verdict,
        because=because,
        warnings=warnings,
    )


def _side(report: LoadReport) -> Side:
    return Side(
        run_id=report.run_id,
        name=report.plan.name,
        made_at=report.made_at,
        url=report.plan.target.url,
        fingerprint=report.host.fingerprint,
        hostname=report.host.hostname,
        validity=report.validity.state,
    )


def _refusals(a: LoadReport, b: LoadReport, *, force: bool) -> Iterator[str]:
    """Warnings about runs that say nothing about the server; raises when they were not asked for."""
    for side, report in (("A", a), ("B", b)):
        if report.validity.state == "INVALID":
            why = next(
                (check.message for check in report.validity.checks if check.state == "INVALID"),
                "no reason given",
            )
            if not force:
                raise ConfigError(
                    f"run {side} ({report.run_id}) is INVALID: {why}; measure it again, or --force to compare it anyway",
                    param="force",
                )
            yield f"run {side} is INVALID ({why}): its numbers measure the generator"


def _warnings(a: LoadReport, b: LoadReport) -> Iterator[str]:
    if a.host.fingerprint != b.host.fingerprint:
        yield (
            f"measured on different machines, {_machine(a)} and {_machine(b)}: a difference may be theirs and not the "
            "server's"
        )
    for side, report in (("A", a), ("B", b)):
        if report.validity.state == "INCONCLUSIVE":
            yield f"run {side} has too few samples for what was asked of it"
        if report.ended != "complete":
            yield f"run {side} did not run to its end: {report.ended_because}"
    if a.plan.load != b.plan.load:
        yield "the two runs had different loads"
    if a.plan.payload != b.plan.payload:
        yield "the two runs sent different requests"


def _machine(report: LoadReport) -> str:
    host = report.host
    return f"{host.hostname} ({host.cpu}, {host.cores} cores, {host.system}, Python {host.python})"


class _Samples:
    """The good answers of both runs after both warm-ups."""

    def __init__(self, a: NamedRun, b: NamedRun, runs: tuple[RunFile, RunFile]) -> None:
        self._runs = runs
        self._since_ns = round(1e9 * max(a.report.warmup_s, b.report.warmup_s))
        self.method: Method = "paired" if _same_requests(*runs) else "unpaired"
        mine, theirs = (self._by_index(run, "latency_ms") for run in runs)
        self.requests = max(len(mine), len(theirs))
        self.pairs = len(mine.keys() & theirs.keys())

    def of(self, field: str) -> Values | None:
        """`latency_ms`, or a field of `Stream`, of the requests to compare; None when a run has none."""
        a, b = (self._by_index(run, field) for run in self._runs)
        if self.method == "paired":
            both = [index for index in a if index in b]
            values = [a[index] for index in both], [b[index] for index in both]
        else:
            values = [*a.values()], [*b.values()]
        return values if all(values) else None

    def _by_index(self, run: RunFile, field: str) -> dict[int, float]:
        """Milliseconds, in order of intended start."""
        columns = run.columns
        if field == "latency_ms":
            rows = zip(columns.index, columns.intended_ns, columns.last_ns, columns.failure, strict=True)
            return {
                index: (last - intended) / 1e6
                for index, intended, last, failure in rows
                if not failure and intended >= self._since_ns
            }
        found = ((columns.index[one.position], getattr(one, field)) for one in streams(run, self._since_ns))
        return {index: value for index, value in found if value is not None}


def _same_requests(a: RunFile, b: RunFile) -> bool:
    """Whether request i is the same at the same time in both runs. In a closed loop the answers decide when it is."""
    mine, theirs = a.header.plan, b.header.plan
    if isinstance(mine.load, ClosedLoop) or (mine.load, mine.seed) != (theirs.load, theirs.seed):
        return False
    if mine.payload != theirs.payload:
        return False
    starts = dict(zip(a.columns.index, a.columns.intended_ns, strict=True))
    return all(
        starts.get(index, at) == at for index, at in zip(b.columns.index, b.columns.intended_ns, strict=True)
    )


_LATENCIES = (
    (Quantity("mean_ms", "mean latency", "ms", decides=True), None),
    (Quantity("p50_ms", "p50 latency", "ms", decides=False), 0.5),
    (Quantity("p95_ms", "p95 latency", "ms", decides=True), 0.95),
    (Quantity("p99_ms", "p99 latency", "ms", decides=False), 0.99),  # noisy in short runs
)
_FIRST_TOKENS = (
    (Quantity("ttft_p50_ms", "p50 time to first token", "ms", decides=False), 0.5),
    (Quantity("ttft_p95_ms", "p95 time to first token", "ms", decides=True), 0.95),
)
_GAPS = ((Quantity("itl_mean_ms", "mean gap of tokens", "ms", decides=True), None),)
_ERRORS = Quantity("error_percent", "errors", "%", decides=True, in_points=True)


def _changes(a: NamedRun, b: NamedRun, samples: _Samples | None, margin: float) -> Iterator[Change]:
    yield from _timed(_LATENCIES, (a.report.latency_ms, b.report.latency_ms), samples, "latency_ms", margin)
    mine, theirs = a.report.streaming, b.report.streaming
    if mine and theirs:
        yield from _timed(_FIRST_TOKENS, (mine.ttft_ms, theirs.ttft_ms), samples, "ttft_ms", margin)
        yield from _timed(_GAPS, (mine.tpot_ms, theirs.tpot_ms), samples, "tpot_ms", margin)
    # In an open loop the schedule sets the rate.
    closed = isinstance(a.report.plan.load, ClosedLoop) and isinstance(b.report.plan.load, ClosedLoop)
    rate = Quantity("rate_per_s", "good answers per second", "/s", decides=closed, higher_is_better=True)
    yield rate.estimated(a.report.done_per_s, b.report.done_per_s, margin)
    yield _ERRORS.estimated(error_percent(a.report), error_percent(b.report), ERROR_MARGIN)


def _timed(
    quantities: Sequence[tuple[Quantity, float | None]],
    reported: tuple[Distribution, Distribution],
    samples: _Samples | None,
    field: str,
    margin: float,
) -> Iterator[Change]:
    """From requests where both runs have enough of them, else from the reports."""
    values = samples.of(field) if samples else None
    for quantity, q in quantities:
        if samples and values:
            yield quantity.sampled(values, q, samples.method, margin)
        else:
            a, b = (_reported(side, q) for side in reported)
            yield quantity.estimated(a, b, margin)


def _reported(distribution: Distribution, q: float | None) -> Estimate:
    if q is None:
        return distribution.mean
    return distribution.quantiles.get(f"p{100 * q:.6g}", Estimate(reason="not in the report"))


def _overall(changes: list[Change]) -> tuple[Verdict, str]:
    """Slower when anything is; else what decides must be known, and is faster when one of it is."""
    slower = [change for change in changes if change.verdict == "slower"]
    if slower:
        return "slower", ", ".join(map(_sized, slower))
    deciding = [change for change in changes if change.decides]
    unknown = [change for change in deciding if change.verdict == "inconclusive"]
    if unknown:
        return "inconclusive", ", ".join(map(_doubt, unknown))
    faster = [change for change in deciding if change.verdict == "faster"]
    if faster:
        return "faster", ", ".join(map(_sized, faster))
    return "equivalent", f"within the margin: {', '.join(change.label for change in deciding)}"


def _sized(change: Change) -> str:
    """`p95 latency +12.3 %`."""
    shown, scale, unit = _shown(change)
    return f"{change.label} {scale * (shown.value or 0):+z.3g} {unit}"


def _doubt(change: Change) -> str:
    """`p95 latency between -3.1 % and +12.3 %`, or why not even that is known."""
    shown, scale, unit = _shown(change)
    if shown.low is None or shown.high is None:
        return f"{change.label} not known ({shown.reason or 'no interval'})"
    return f"{change.label} between {scale * shown.low:+z.3g} {unit} and {scale * shown.high:+z.3g} {unit}"


def _shown(change: Change) -> tuple[Estimate, int, str]:
    """What the verdict was judged on, the factor to show it with, and its unit."""
    return (change.difference, 1, "points") if change.unit == "%" else (change.relative, 100, "%")

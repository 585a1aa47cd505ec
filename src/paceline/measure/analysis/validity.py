"""Whether the numbers of a run can be believed: each reason with what was measured, its limit, and a way out.

INVALID means that the generator was measured and not the server, INCONCLUSIVE that there is too little to say what was
asked. The worst check is the state of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from paceline.measure.analysis.tally import Pace, Steady
from paceline.measure.records.histogram import Histogram
from paceline.measure.report import Check, Distribution, Estimate, Validity, ValidityState
from paceline.measure.statistics.interval import needed

LATEST_MS = 1.0
LATEST_SHARE = 0.05
FINEST_MS = 0.25
"""What a process can keep to on an ordinary kernel; a stricter limit would only say so of every run."""
RATE_PERCENT = 1.0
CPU_PERCENT = 85.0
TOKENS_PERCENT = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A quantile that an objective is about."""

    estimate: Estimate
    q: float
    count: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the checks look at."""

    latency: Distribution
    steady: Steady
    constant: bool
    """Whether the load stayed at one level."""
    open_loop: bool
    failures: Mapping[str, int]
    lag: Histogram | None = None
    pace: Pace | None = None
    cpu_percent: float | None = None
    """Of the busiest worker; None when none lived to tell."""
    lag_limit_ms: float | None = None
    """The plan's own."""
    max_connections: int = 0
    connections: int = 0
    """Opened by all workers together."""
    asked: Mapping[str, Asked] = field(default_factory=dict)
    """By the name of the objective."""
    usage_tokens: int | None = None
    token_events: int = 0
    gaps_asked: bool = False
    """Whether an objective is about the gaps between tokens."""


def validity(evidence: Evidence) -> Validity:
    """Every check that applies, and the worst of their states."""
    checks = list(_checks(evidence))
    order: tuple[ValidityState, ...] = ("INVALID", "INCONCLUSIVE", "VALID")
    state = next(
        state for state in order if state == "VALID" or any(check.state == state for check in checks)
    )
    return Validity(state, checks)


def first_problem(judged: Validity) -> str:
    """The message of the first check with the run's own state."""
    return next((check.message for check in judged.checks if check.state == judged.state), "")


def lag_limit_ms(p50_ms: float | None) -> float:
    """The p99 of starting late must stay below 1 ms and below 5 % of the median latency, whichever is less.

    Latency counts from the intended start, so whatever the generator is late is in it: 1 ms would be most of the
    latency of a server that answers in 1 ms, hence 5 %. The limit is never below 0.1 ms: for servers faster than
    2 ms the service time, which begins at the actual start, is the better measure.
    """
    if p50_ms is None:
        return LATEST_MS
    return max(FINEST_MS, min(LATEST_MS, LATEST_SHARE * p50_ms))


def _checks(evidence: Evidence) -> Iterator[Check]:
    yield _answers(evidence)
    if evidence.lag is not None and evidence.lag.counts:
        full = 0 < evidence.max_connections <= evidence.connections
        limit = evidence.lag_limit_ms or lag_limit_ms(evidence.latency.quantiles["p50"].value)
        yield _lag(evidence.lag, limit, full=full)
    if evidence.pace is not None:
        yield _rate(evidence.pace)
    if unsent := evidence.failures.get("unsent", 0):
        yield _unsent(unsent, evidence.max_connections)
    if evidence.cpu_percent is not None:
        yield _cpu(evidence.cpu_percent)
    if evidence.usage_tokens is not None and evidence.token_events:
        yield _tokens(evidence.usage_tokens, evidence.token_events, gaps_asked=evidence.gaps_asked)
    if evidence.latency.count:
        yield from (
            _samples(name, asked, constant=evidence.constant) for name, asked in evidence.asked.items()
        )
    if evidence.constant and evidence.latency.count:
        yield _steady(evidence.steady, open_loop=evidence.open_loop)


def _answers(evidence: Evidence) -> Check:
    count = evidence.latency.count
    if count:
        return Check("answers", "VALID", f"{count:,} good answers", float(count), 1.0)
    worst = max(evidence.failures.items(), key=lambda item: item[1], default=None)
    why = (
        f"the most common failure is {worst[0]} ({worst[1]:,} requests); try the URL with one request first"
        if worst
        else "the run, or what is left of it after the warm-up, is too short"
    )
    return Check("answers", "INVALID", f"no good answer in the measured part: {why}", 0.0, 1.0)


def _lag(lag: Histogram, limit: float, *, full: bool) -> Check:
    value = lag.quantile(0.99) / 1e6
    if value <= limit:
        return Check(
            "generator_lag", "VALID", f"requests left on time (p99 {value:.3g} ms late)", value, limit
        )
    way_out = (
        "every connection was busy, so the server did not keep up: offer less, or allow more with --max-connections"
        if full
        else "use more workers, a lower rate, or a machine with less else to do"
    )
    message = f"requests left late: p99 {value:.3g} ms, the limit is {limit:.3g} ms; {way_out}"
    return Check("generator_lag", "INVALID", message, value, limit)


def _rate(pace: Pace) -> Check:
    value = pace.off_percent
    if value <= RATE_PERCENT:
        message = f"sending rate within {RATE_PERCENT:g} % of the schedule"
        return Check("achieved_rate", "VALID", message, value, RATE_PERCENT)
    message = (
        f"sending rate {value:.3g} % off the schedule ({pace.sent:,} of {pace.due:,} requests left), the limit is "
        f"{RATE_PERCENT:g} %; use more workers or connections, or a lower rate"
    )
    return Check("achieved_rate", "INVALID", message, value, RATE_PERCENT)


def _unsent(unsent: int, connections: int) -> Check:
    message = (
        f"{unsent:,} requests were due but never sent: all {connections:,} connections were waiting for answers; allow "
        "more connections, or offer less"
    )
    return Check("unsent", "INVALID", message, float(unsent), 0.0)


def _cpu(value: float) -> Check:
    if value <= CPU_PERCENT:
        message = f"the generator had time to spare ({value:.0f} % of a core)"
        return Check("generator_cpu", "VALID", message, value, CPU_PERCENT)
    message = (
        f"the busiest worker used {value:.0f} % of a core, the limit is {CPU_PERCENT:g} %: it may be the generator that "
        "is slow; use more workers, or fewer users or requests"
    )
    return Check("generator_cpu", "INVALID", message, value, CPU_PERCENT)


def _tokens(usage: int, events: int, *, gaps_asked: bool) -> Check:
    """More events than tokens is a wrong count; fewer is a server that packs several tokens into an event.

    The totals cannot tell packed events from lost ones, but a lost event would have made the stream malformed, which
    counts as a failure. Times to first token and per token stay right, gaps are then between events.
    """
    value = 100 * (events - usage) / usage if usage else 100.0
    name, limit = "tokens", TOKENS_PERCENT
    if abs(value) <= limit:
        return Check(name, "VALID", f"{events:,} token events, {usage:,} tokens by usage", value, limit)
    if value > 0:
        message = (
            f"{events:,} events carried text but the server's usage says {usage:,} tokens: one of the counts is wrong, and "
            "so is every figure per token; ask the server's makers"
        )
        return Check(name, "INVALID", message, value, limit)
    message = (
        f"the server packs {usage / events:.2f} tokens into an event ({usage:,} tokens by its usage, {events:,} events): "
        "inter-token latency is between events, not tokens; judge time per output token instead"
    )
    return Check(name, "INCONCLUSIVE" if gaps_asked else "VALID", message, value, limit)


def _samples(name: str, asked: Asked, *, constant: bool) -> Check:
    """Ten independent samples beyond the quantile; of a load that changed, ten samples of whatever kind."""
    limit = float(needed(asked.q))
    shown = name.removesuffix("_ms").replace("_", " ")
    if asked.estimate.value is None:
        return Check(
            f"effective_samples_{name}", "INCONCLUSIVE", f"{shown}: {asked.estimate.reason}", 0.0, limit
        )
    value = asked.estimate.effective if constant else float(asked.count)
    why = asked.estimate.reason if constant else None
    if not constant and asked.count < limit:
        why = f"{asked.count:,} samples, {shown} needs {limit:,.0f}"
    if why is None:
        return Check(f"effective_samples_{name}", "VALID", f"enough samples for {shown}", value, limit)
    longer = f"about {limit / value:.2g} times as long" if value else "longer"
    message = f"too few samples: {why}; run {longer}, or judge a lower percentile"
    return Check(f"effective_samples_{name}", "INCONCLUSIVE", message, value, limit)


def _steady(steady: Steady, *, open_loop: bool) -> Check:
    match steady:
        case "rising" if open_loop:
            message = (
                "latency rose to the end: the queue grows, offered load is above capacity; offer less, or search for the "
                "capacity"
            )
        case "rising":
            message = "latency rose to the end: the server did not reach a steady state; run longer"
        case "falling":
            return Check("steady", "VALID", "latency still fell at the end: a longer run may show it lower")
        case "unknown":
            return Check("steady", "VALID", "too few answers to see a trend")
        case "steady":
            return Check("steady", "VALID", "latency has no trend")
    return Check("steady", "INCONCLUSIVE", message)

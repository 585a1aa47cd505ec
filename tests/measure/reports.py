"""Reports as real runs leave them, made from a seed: what the renderers are tested with.

`sample()` is a valid run that met its objectives; the named variants differ where their name says. `sample(**changes)`
replaces fields of the report.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import msgspec

from paceline.base.slo import DEFAULT_OBJECTIVES, State
from paceline.measure.plan import OpenLoop, Payload, Plan, Stage, Target
from paceline.measure.report import (
    Capacity,
    Check,
    Distribution,
    Estimate,
    Generator,
    Host,
    LoadReport,
    Probe,
    Series,
    ServerSeries,
    SloRow,
    StageResult,
    Streaming,
    Trend,
    Validity,
    ValidityState,
)

NAMES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}

HOST = Host(
    fingerprint="9f3a62c1",
    hostname="bench-04",
    cpu="AMD EPYC 9354",
    cores=32,
    memory_bytes=134_217_728_000,
    system="Linux 6.8",
    python="3.11.9",
)

PLAN = Plan(
    target=Target(url="http://localhost:8080/v1/embeddings", headers={"Authorization": "(hidden)"}),
    load=OpenLoop(
        stages=(
            Stage(20, 400, 50, "ramp"),
            Stage(100, 400, name="normal"),
            Stage(60, 480, name="peak"),
        ),
        process="poisson",
    ),
    payload=Payload(task="embeddings", model="all-MiniLM-L6-v2"),
    name="baseline of the embedding server",
    seed=7,
)

CHECKS = [
    Check("generator_lag", "VALID", "requests left on time", 0.08, 1.0),
    Check("achieved_rate", "VALID", "offered rate within 1 % of the schedule", 0.02, 1.0),
    Check("generator_cpu", "VALID", "the generator had time to spare", 31.0, 85.0),
    Check("effective_samples", "VALID", "enough independent samples for p99", 9_120.0, 300.0),
]


def estimate(value: float, share: float = 0.04) -> Estimate:
    """An interval of +- `share`, a little wider upwards as those of latencies are."""
    return Estimate(value, value * (1 - share), value * (1 + 1.3 * share))


def distribution(values: list[float], share: float = 0.04) -> Distribution:
    """Of milliseconds; the histogram has 60 log-spaced bins."""
    ordered = sorted(values)
    mean = sum(ordered) / len(ordered)
    return Distribution(
        count=len(ordered),
        effective=round(len(ordered) / 5.3),
        mean=estimate(mean, share / 2),
        min=ordered[0],
        max=ordered[-1],
        stddev=(sum((value - mean) ** 2 for value in ordered) / len(ordered)) ** 0.5,
        quantiles={
            name: estimate(ordered[int(q * (len(ordered) - 1))], share * (1 + 3 * (q > 0.98)))
            for name, q in NAMES.items()
        },
        histogram=bins(ordered),
    )


def bins(ordered: list[float], number: int = 60) -> list[tuple[float, int]]:
    """Upper edge and count of log-spaced bins; the last edge is the largest value."""
    low, high = ordered[0], ordered[-1] * 1.0001
    ratio = (high / low) ** (1 / number)
    counts = [0] * number
    edge, at = low * ratio, 0
    for value in ordered:
        while value > edge and at < number - 1:
            edge, at = edge * ratio, at + 1
        counts[at] += 1
    return [(low * ratio ** (index + 1), count) for index, count in enumerate(counts)]


def latencies(number: int, middle_ms: float, spread: float, seed: int = 1) -> list[float]:
    """Log-normal, with one in 150 a slow second mode (a garbage collection, a cold cache)."""
    chance = random.Random(seed)
    return [
        chance.lognormvariate(0, spread) * middle_ms * (2.6 if chance.random() < 1 / 150 else 1.0)
        for _ in range(number)
    ]


def series(seconds: int, rate: float, middle_ms: float, step_s: float = 1.0, seed: int = 2) -> Series:
    """A ramp over the first ninth, the rate, and a fifth more in the last third; latency follows the load."""
    chance = random.Random(seed)
    steps = int(seconds / step_s)
    rows = []
    for step in range(steps):
        share = step / steps
        load = rate * (0.12 + 0.88 * share * 9 if share < 1 / 9 else 1.2 if share > 2 / 3 else 1.0)
        slow = middle_ms * (1 + 1.8 * max(0.0, 1 - 20 * share)) * (1.15 if share > 2 / 3 else 1.0)
        p50 = slow * chance.lognormvariate(0, 0.03)
        p95 = p50 * 2.05 * chance.lognormvariate(0, 0.06)
        p99 = p95 * 1.35 * chance.lognormvariate(0, 0.12)
        failed = chance.choice((1.0, 2.0, 3.0)) if chance.random() < 0.05 else 0.0
        offered = load * chance.lognormvariate(0, 0.04)
        rows.append((step * step_s, offered, offered - failed, failed, offered * p50 / 1000, p50, p95, p99))
    columns = [list(column) for column in zip(*rows, strict=True)]
    return Series(step_s, *columns)


def slo_rows(values: dict[str, Estimate]) -> list[SloRow]:
    """The default table; rows without a value are unknown."""
    rows = []
    for objective in DEFAULT_OBJECTIVES:
        value = values.get(objective.name, Estimate())
        rows.append(
            SloRow(
                objective.name,
                objective.label,
                objective.unit,
                objective.target,
                objective.critical,
                objective.higher_is_better,
                value.value,
                value.low,
                value.high,
                objective.state(value.value),
            )
        )
    return rows


@cache
def valid() -> LoadReport:
    """Three minutes at 400 and 480 requests per second; every objective that was measured is met."""
    values = latencies(67_000, 112, 0.42)
    total = distribution(values)
    load = series(180, 400, 112)
    stages = [
        StageResult("ramp", 0, 20, 400, 4_500, 4_488, 12, 224.4, 141.0, 289.0, 402.0),
        StageResult("normal", 20, 120, 400, 40_012, 39_988, 24, 399.9, 110.2, 224.0, 303.0),
        StageResult("peak", 120, 180, 480, 28_790, 28_769, 21, 479.5, 127.1, 261.4, 350.5),
    ]
    return LoadReport(
        run_id="20260314-101500-9f3a",
        made_at="2026-03-14T10:15:00Z",
        paceline="0.1.0",
        host=HOST,
        plan=PLAN,
        ended="complete",
        ended_because="the schedule was over",
        duration_s=180.0,
        warmup_s=14.0,
        steady="steady",
        scheduled=73_302,
        sent=73_302,
        done=73_245,
        failed=57,
        failures={"timeout": 31, "reset": 18, "status": 8},
        statuses={"200": 73_245, "503": 8},
        offered_per_s=429.9,
        done_per_s=Estimate(428.6, 425.1, 431.9),
        received_bytes=128_400_000,
        latency_ms=total,
        service_ms=distribution([value * 0.98 for value in values]),
        goodput_percent=97.4,
        validity=Validity("VALID", CHECKS),
        slo=slo_rows(
            {
                "p95_ms": total.quantiles["p95"],
                "p99_ms": total.quantiles["p99"],
                "error_percent": Estimate(0.078, 0.057, 0.101),
                "cpu_percent": Estimate(61.4),
                "memory_gb": Estimate(1.38),
            }
        ),
        slo_state="ok",
        generator=Generator(2, 31.0, 0.021, 0.08, 214, "kernel"),
        stages=stages,
        series=load,
        server=server(180, 2.0),
        notes=["the answers of the warm-up (14 s) are not counted"],
    )


def server(seconds: int, step_s: float, leak_per_hour: float = 0.0, seed: int = 5) -> ServerSeries:
    """A process at about 60 % CPU; `leak_per_hour` in bytes."""
    chance = random.Random(seed)
    at = [step * step_s for step in range(int(seconds / step_s))]
    return ServerSeries(
        source="process 4711",
        at_s=at,
        cpu_percent=[60 * chance.lognormvariate(0, 0.06) for _ in at],
        memory_bytes=[1.38e9 + leak_per_hour * t / 3600 + chance.gauss(0, 4e6) for t in at],
        open_files=[float(220 + chance.randrange(12)) for _ in at],
        queue_depth=[float(chance.randrange(9)) for _ in at],
        hit_percent=None,
    )


def sample(**changes: Any) -> LoadReport:
    """The valid run with fields replaced."""
    return msgspec.structs.replace(valid(), **changes)


def judged(state: State, latency: Distribution, **values: Estimate) -> LoadReport:
    """A valid run whose table has these values and the latency's, and only the rows that were measured."""
    values |= {f"{name}_ms": latency.quantiles[name] for name in ("p95", "p99")}
    rows = [row for row in slo_rows(values) if row.value is not None]
    asked = ("p(95)<300|600", "p(99)<500|1000", "errors<0.5%|2%")
    plan = msgspec.structs.replace(PLAN, thresholds=asked)
    return sample(plan=plan, slo=rows, slo_state=state, latency_ms=latency)


def met() -> LoadReport:
    """Every objective met."""
    return judged("ok", valid().latency_ms, error_percent=Estimate(0.08, 0.06, 0.1))


def missed() -> LoadReport:
    """A target missed, a critical level crossed: one answer in 50 is six times as slow."""
    chance = random.Random(4)
    values = [each * (6 if chance.random() < 0.02 else 1) for each in latencies(30_000, 172, 0.38)]
    slow = distribution(values)
    report = judged("critical", slow, error_percent=Estimate(0.31, 0.22, 0.4))
    return msgspec.structs.replace(
        report, service_ms=slow, series=series(180, 400, 172), goodput_percent=71.2, failed=227, done=73_075
    )


def _validity(state: ValidityState, *checks: Check) -> Validity:
    named = {check.name for check in checks}
    return Validity(state, [*checks, *(check for check in CHECKS if check.name not in named)])


def invalid() -> LoadReport:
    """The generator was the bottleneck. The numbers are in the report; no reader may see them as a result."""
    return sample(
        validity=_validity(
            "INVALID",
            Check(
                "generator_lag", "INVALID", "requests left 34.2 ms late at p99; the limit is 1 ms", 34.2, 1.0
            ),
            Check(
                "generator_cpu",
                "INVALID",
                "its busiest worker used 99 % of a core; give --workers",
                99.0,
                85.0,
            ),
        ),
        generator=Generator(1, 99.0, 8.4, 34.2, 1_024, "user"),
    )


def inconclusive() -> LoadReport:
    """Twelve independent samples cannot say what p99 is."""
    values = latencies(180, 112, 0.42, seed=9)
    few = distribution(values, share=0.2)
    reason = "12 independent samples, p99 needs 300"
    quantiles = {
        **few.quantiles,
        "p99": Estimate(few.quantiles["p99"].value, reason=reason),
        "p99.9": Estimate(reason="12 independent samples, p99.9 needs 3,000"),
    }
    few = msgspec.structs.replace(few, effective=12.0, quantiles=quantiles)
    return sample(
        validity=_validity("INCONCLUSIVE", Check("effective_samples", "INCONCLUSIVE", reason, 12.0, 300.0)),
        latency_ms=few,
        service_ms=few,
        series=series(20, 9, 112),
        stages=[],
        duration_s=20.0,
        warmup_s=0.0,
        steady="unknown",
        scheduled=180,
        sent=180,
        done=180,
        failed=0,
        failures={},
        statuses={"200": 180},
        offered_per_s=9.0,
        done_per_s=Estimate(9.0, reason=reason),
        slo=slo_rows({"p95_ms": few.quantiles["p95"], "p99_ms": few.quantiles["p99"]}),
        notes=[],
        server=None,
    )


def streaming() -> LoadReport:
    """A chat model that streams 64 tokens an answer."""
    chance = random.Random(11)
    first = distribution(latencies(6_000, 180, 0.5, seed=3))
    per_token = distribution([chance.lognormvariate(0, 0.12) * 24 for _ in range(6_000)])
    gaps = distribution([chance.lognormvariate(0, 0.3) * 23 for _ in range(60_000)])
    total = distribution([chance.lognormvariate(0, 0.15) * 1_700 for _ in range(6_000)])
    return sample(
        plan=Plan(
            target=Target(url="http://localhost:8000/v1/chat/completions"),
            load=OpenLoop(stages=(Stage(300, 20),)),
            payload=Payload(task="chat", model="qwen2.5-0.5b", stream=True),
            name="chat, streamed",
            thresholds=("ttft(95)<500|1000", "itl(95)<50|100"),
        ),
        latency_ms=total,
        service_ms=total,
        duration_s=300.0,
        sent=6_003,
        done=5_991,
        failed=12,
        scheduled=6_003,
        failures={"stream": 9, "timeout": 3},
        statuses={"200": 6_000},
        offered_per_s=20.0,
        done_per_s=Estimate(19.97, 19.6, 20.3),
        series=series(300, 20, 1_700),
        stages=[],
        goodput_percent=93.1,
        streaming=Streaming(first, per_token, gaps, 1_260_000, 383_400, 384_192, 1278.0),
        slo=[
            SloRow(
                "ttft_p95_ms", "p95 time to first token", "ms", 500, 1_000, False, 402.0, 381.0, 428.0, "ok"
            ),
            SloRow("itl_p95_ms", "p95 gap of tokens", "ms", 50, 100, False, 37.7, 37.2, 38.3, "ok"),
        ],
        slo_state="ok",
    )


def capacity() -> LoadReport:
    """A saturation search that ends at 412 requests per second."""
    probes = []
    for rate in (100, 200, 300, 350, 380, 400, 410, 420, 440, 480):
        value = 60 + 40 / (1 - rate / 490)
        width = 0.03 + 0.10 * (rate / 490) ** 4
        done = min(float(rate), 452.0)
        probes.append(Probe(rate, done, value, value * (1 - width), value * (1 + width), value <= 305, 30.0))
    found = Capacity("p95 <= 300 ms", Estimate(412.0, 398.0, 425.0), probes)
    return sample(capacity=found)


def endurance() -> LoadReport:
    """An hour; memory grows by 36 MB an hour."""
    used = server(3_600, 10.0, leak_per_hour=36e6)
    memory = [value for value in used.memory_bytes if value is not None]
    files = [value for value in used.open_files if value is not None]
    load = series(3_600, 400, 112, step_s=5.0)
    tail = [value for value in load.p99_ms if value is not None]
    return sample(
        duration_s=3_600.0,
        warmup_s=120.0,
        series=load,
        stages=[],
        server=used,
        trends=[
            Trend("memory", "bytes", Estimate(36e6, 33.1e6, 38.8e6), memory[0], "growing", used.at_s, memory),
            Trend("open files", "", Estimate(0.0, -0.4, 0.3), files[0], "flat", used.at_s, files),
            Trend("p99", "ms", Estimate(4.0, -6.1, 13.9), tail[0], "inconclusive", load.at_s, tail),
        ],
    )


VARIANTS = {
    "valid": valid,
    "met": met,
    "missed": missed,
    "invalid": invalid,
    "inconclusive": inconclusive,
    "streaming": streaming,
    "capacity": capacity,
    "endurance": endurance,
}
"""Every kind of report by name."""

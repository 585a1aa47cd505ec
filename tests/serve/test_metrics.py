"""`/metrics`, read back by Prometheus' own parser."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from paceline.base.instruments import Registry
from paceline.flow.batcher import BatchRecord
from paceline.serve.metrics import BatchMetrics, render, stats_series


def samples(page):
    """Every sample as {(name, label values...): value}."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def scrape(house):
    return samples(house.call("GET", "/metrics").body)


def test_requests_are_counted_by_route_and_status(house):
    house.post({"input": "a"})
    house.post({"input": "a"})
    house.post(b"{")

    seen = scrape(house)

    assert seen["paceline_requests_total", "/v1/embeddings", "200"] == 2
    assert seen["paceline_requests_total", "/v1/embeddings", "400"] == 1
    assert seen["paceline_request_seconds_count", "/v1/embeddings"] == 3
    assert seen["paceline_tokens_total",] == 6
    assert seen["paceline_cache_replies_total", "l1"] == 1
    assert seen["paceline_cache_replies_total", "miss"] == 1


def test_stages_are_counted_for_computed_replies_only(house):
    house.post({"input": "a"})
    house.post({"input": "a"})

    seen = scrape(house)

    assert seen["paceline_run_seconds_count",] == 1
    assert seen["paceline_run_seconds_sum",] == pytest.approx(0.003)
    assert seen["paceline_queue_seconds_bucket", "0.002048"] == 1
    assert seen["paceline_queue_seconds_bucket", "0.001024"] == 0


def test_the_parts_counts_are_shown_by_area(build):
    house = build(stats={"redis": lambda: {"up": 1.0, "wait_ms": 5.0, "failures_total": 3}})

    seen = scrape(house)

    assert seen["paceline_queue_depth", "tiny"] == 2
    assert seen["paceline_active_batches", "tiny"] == 1
    assert seen["paceline_breaker_state", "tiny"] == 0
    assert seen["paceline_redis_up",] == 1
    assert seen["paceline_redis_wait_seconds",] == 0.005
    assert seen["paceline_redis_failures_total",] == 3


def test_the_last_minute_as_gauges(house):
    for _ in range(10):
        house.post({"input": "a"})
    house.embedder.error = ZeroDivisionError()
    house.post({"input": "b"})

    seen = scrape(house)

    assert (
        0
        < seen["paceline_request_latency_seconds", "0.5"]
        <= seen["paceline_request_latency_seconds", "0.99"]
        < 5
    )
    assert seen["paceline_requests_per_second",] > 0
    assert seen["paceline_error_ratio",] == pytest.approx(1 / 11)


def test_the_process_is_measured(house):
    seen = scrape(house)

    assert seen["paceline_process_cpu_seconds_total",] > 0
    assert seen["paceline_process_resident_bytes",] > 1 << 20
    assert seen["paceline_process_open_fds",] > 2
    assert seen["paceline_uptime_seconds",] >= 0


def test_other_processes_are_added(build):
    other = build()
    other.post({"input": "a"})
    house = build(peers=lambda: [other.app.metrics.registry.snapshot()])
    house.post({"input": "a"})

    seen = scrape(house)

    assert seen["paceline_requests_total", "/v1/embeddings", "200"] == 2
    assert seen["paceline_request_seconds_count", "/v1/embeddings"] == 2
    assert seen["paceline_queue_depth", "tiny"] == 4


def test_batches_are_counted_where_the_engine_is():
    registry = Registry()
    batches = BatchMetrics(registry)
    for rows in (1, 2, 32, 64):
        batches.ran(
            BatchRecord(
                rows=rows,
                cost=rows * 16,
                tokens=rows * 10,
                wait_s=0.0,
                run_s=0.004,
                started_at=1.0,
                length=16,
                busy=1,
            )
        )

    seen = samples(render(registry.snapshot()))

    assert [seen["paceline_batch_rows_bucket", le] for le in ("1", "16", "32", "64", "+Inf")] == [
        1,
        2,
        3,
        4,
        4,
    ]
    assert seen["paceline_batch_rows_sum",] == 99
    assert seen["paceline_batch_run_seconds_count",] == 4


def test_units_become_those_of_prometheus():
    series = stats_series("cache", {"saved_s_total": 2.0, "age_s": 3.0, "wait_ms": 4.0, "bytes": 5})

    assert {one["name"]: (one["kind"], one["value"]) for one in series} == {
        "paceline_cache_saved_seconds_total": ("counter", 2.0),
        "paceline_cache_age_seconds": ("gauge", 3.0),
        "paceline_cache_wait_seconds": ("gauge", 0.004),
        "paceline_cache_bytes": ("gauge", 5.0),
    }


def test_labels_are_escaped():
    registry = Registry()
    registry.counter("paceline_a_total", "A.", model='a"b\\c\nd').add()

    assert samples(render(registry.snapshot())) == {("paceline_a_total", 'a"b\\c\nd'): 1.0}


@pytest.mark.parametrize(
    ("value", "text"), [(float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN")]
)
def test_what_is_not_finite_is_written_as_prometheus_does(value, text):
    registry = Registry()
    registry.gauge("paceline_a", "A.").set(value)

    assert f"paceline_a {text}\n".encode() in render(registry.snapshot())


def test_promtool_finds_nothing_to_say(house):
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on this host; install it with: apt-get install prometheus")
    house.post({"input": "a"})

    check = subprocess.run(
        ["promtool", "check", "metrics"],
        input=house.call("GET", "/metrics").body,
        capture_output=True,
        check=False,
    )

    assert (check.returncode, check.stdout.decode(), check.stderr.decode()) == (0, "", "")

"""What streamed answers tell: first token, pace, gaps, tokens per second."""

from __future__ import annotations

import pytest
from known_runs import MS, STREAMED, S, constant_rate, failed, plan, row, run_of, seconds_of, streamed, users

from paceline.base.goodput import Limits
from paceline.measure.analysis import distribution
from paceline.measure.analysis.streaming import streaming_of_rows, streaming_of_seconds, streams, tokens_per_s
from paceline.measure.failure import Failure
from paceline.measure.plan import Payload

MADE = plan(constant_rate(10, 10), payload=STREAMED)


def times(due_ns, first_ms, gap_ms, tokens):
    return [int(due_ns + first_ms * MS + k * gap_ms * MS) for k in range(tokens)]


def regular(number=100, *, first_ms=50, gap_ms=10, tokens=11, usage=None):
    """Streams of one shape, ten a second."""
    told = [(i, times(i * 100 * MS, first_ms, gap_ms, tokens)) for i in range(number)]
    rows = [streamed(i, i * 100 * MS, at, usage) for i, at in told]
    return run_of(MADE, rows, streams=told)


def test_first_token_counts_from_the_intended_start():
    found = streaming_of_rows(regular(), 0, None, constant=True)

    assert found.ttft_ms.count == 100
    assert found.ttft_ms.quantiles["p95"].value == pytest.approx(50)


def test_time_per_token_is_over_the_tokens_after_the_first():
    found = streaming_of_rows(regular(tokens=11, gap_ms=10), 0, None, constant=True)

    assert found.tpot_ms.quantiles["p50"].value == pytest.approx(10)


def test_every_gap_counts():
    found = streaming_of_rows(regular(number=20, tokens=6), 0, None, constant=True)

    assert found.itl_ms.count == 20 * 5
    assert found.itl_ms.quantiles["p99"].value == pytest.approx(10)


def test_tokens_are_those_of_the_servers_usage():
    """Two tokens to an event: time per token halves, gaps are between events."""
    found = streaming_of_rows(regular(tokens=11, gap_ms=10, usage=21), 0, None, constant=True)

    assert (found.completion_tokens, found.token_events, found.prompt_tokens) == (2_100, 1_100, 500)
    assert found.tpot_ms.quantiles["p50"].value == pytest.approx(5)
    assert found.itl_ms.quantiles["p50"].value == pytest.approx(10)


def test_without_usage_events_are_counted():
    found = streaming_of_rows(regular(usage=-1), 0, None, constant=True)

    assert (found.completion_tokens, found.token_events) == (None, 1_100)
    assert found.tpot_ms.quantiles["p50"].value == pytest.approx(10)


def test_tokens_that_came_together_have_no_gap():
    at = [50 * MS, 50 * MS, 50 * MS, 80 * MS]
    found = streaming_of_rows(run_of(MADE, [streamed(0, 0, at)], streams=[(0, at)]), 0, None, constant=True)

    assert found.itl_ms.count == 3
    assert (found.itl_ms.min, found.itl_ms.max) == (0.0, 30.0)


def test_a_single_token_has_no_pace():
    at = [50 * MS]
    found = streaming_of_rows(run_of(MADE, [streamed(0, 0, at)], streams=[(0, at)]), 0, None, constant=True)

    assert found.ttft_ms.count == 1
    assert (found.tpot_ms.count, found.itl_ms.count) == (0, 0)
    assert found.tpot_ms.quantiles["p50"].value is None


def test_failed_streams_and_those_of_the_warm_up_are_left_out():
    run = regular(number=20)
    broken = run_of(
        MADE,
        [*(streamed(i, i * 100 * MS, times(i * 100 * MS, 50, 10, 11)) for i in range(19)),
         failed(19, 1_900 * MS, Failure.STREAM)],
    )  # fmt: skip

    assert streaming_of_rows(run, S, None, constant=True).ttft_ms.count == 10
    assert streaming_of_rows(broken, S, None, constant=True).ttft_ms.count == 9


def test_a_stream_whose_token_times_were_lost_still_has_its_first_token():
    """The block of token times may be the one that a kill tore off."""
    run = run_of(MADE, [streamed(0, 0, times(0, 50, 10, 11))])
    found = streaming_of_rows(run, 0, None, constant=True)

    assert found.ttft_ms.max == pytest.approx(50)
    assert found.tpot_ms.max == pytest.approx(10)
    assert found.itl_ms.count == 0


def test_answers_without_tokens_are_no_streams():
    run = run_of(plan(users(1, 1)), [row(0, 0, MS)])

    assert streaming_of_rows(run, 0, None, constant=True) is None


def test_tokens_per_second_count_what_came_between_the_two_instants():
    """Each stream spreads 10 tokens over a second; half of the last one comes after the end."""
    told = [(i, times(i * S, 0.001, 1_000 / 9, 10)) for i in range(3)]
    run = run_of(MADE, [streamed(i, i * S, at) for i, at in told], streams=told)

    assert tokens_per_s(run, 0, 3 * S) == pytest.approx(10, rel=0.01)
    assert tokens_per_s(run, S, 2 * S) == pytest.approx(10, rel=0.01)
    assert tokens_per_s(run, 0, int(2.5 * S)) == pytest.approx(10, rel=0.01)
    assert tokens_per_s(run, S, S) is None


def test_embeddings_count_the_tokens_of_their_inputs():
    made = plan(constant_rate(10, 10), payload=Payload(task="embeddings"))
    rows = [row(i, i * 100 * MS, 10 * MS, prompt_tokens=16) for i in range(100)]

    assert tokens_per_s(run_of(made, rows), 0, 10 * S) == pytest.approx(160)


def test_plain_http_has_no_tokens():
    assert tokens_per_s(run_of(plan(users(1, 1)), [row(0, 0, MS)]), 0, S) is None


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (Limits(ttft=60), True),
        (Limits(ttft=40), False),
        (Limits(tpot=11), True),
        (Limits(tpot=9), False),
        (Limits(itl=11), True),
        (Limits(itl=9), False),
        (Limits(latency=1), True),
    ],
)
def test_a_stream_is_held_against_the_limits_on_its_tokens(limits, kept):
    (stream, *_) = streams(regular())

    assert stream.within(limits) == kept


def test_many_gaps_go_through_histograms(monkeypatch):
    exact = streaming_of_rows(regular(number=3_000), 0, None, constant=True).itl_ms
    monkeypatch.setattr(distribution, "MOST_SORTED", 1_000)
    counted = streaming_of_rows(regular(number=3_000), 0, None, constant=True).itl_ms

    assert counted.count == exact.count == 30_000
    assert counted.quantiles["p99"].value == pytest.approx(exact.quantiles["p99"].value, rel=5e-4)


def test_histograms_by_second_know_the_first_token_only():
    told = [(i, times(i * 100 * MS, 50, 10, 11)) for i in range(100)]
    seconds = seconds_of([streamed(i, i * 100 * MS, at) for i, at in told], told)
    found = streaming_of_seconds(seconds, 110.0, constant=True)

    assert found.ttft_ms.quantiles["p50"].value == pytest.approx(50, rel=5e-4)
    assert (found.completion_tokens, found.completion_tokens_per_s) == (1_100, 110.0)
    assert "records" in found.itl_ms.quantiles["p50"].reason
    assert streaming_of_seconds([], None, constant=True) is None

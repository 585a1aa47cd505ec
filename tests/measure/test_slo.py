"""Thresholds in k6's words, and the judgement of measured values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import ConfigError
from paceline.base.slo import DEFAULT_OBJECTIVES
from paceline.measure.report import Estimate
from paceline.measure.slo import (
    QUANTITIES,
    default_critical,
    expression,
    judge,
    merged,
    objectives,
    parse,
    read_slo,
    slo_state,
)


def read(text):
    (objective,) = parse([text])
    return objective.name, objective.target, objective.critical


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p(95)<300", ("p95_ms", 300, 600)),
        ("p(95)<300|650", ("p95_ms", 300, 650)),
        ("p(99.9) < 0.5s | 2s", ("p99.9_ms", 500, 2000)),
        ("med<1s", ("p50_ms", 1000, 2000)),
        ("avg<200", ("mean_ms", 200, 400)),
        ("max<1000", ("max_ms", 1000, 2000)),
        ("rate>100", ("rate_per_s", 100, 50)),
        ("errors<1%", ("error_percent", 1, 4)),
        ("errors<0.5|2%", ("error_percent", 0.5, 2)),
        ("ttft p(95)<500", ("ttft_p95_ms", 500, 1000)),
        ("itl p(99)<50", ("itl_p99_ms", 50, 100)),
        ("tpot avg<40", ("tpot_mean_ms", 40, 80)),
        ("tokens>1000", ("tokens_per_s", 1000, 500)),
        ("goodput>95%", ("goodput_percent", 95, 90)),
        ("hits>50%", ("hit_percent", 50, 30)),
        ("queue<50", ("queue_depth", 50, 100)),
        ("cpu<70%", ("cpu_percent", 70, 90)),
        ("memory<6GB", ("memory_gb", 6, 8)),
        ("memory<500MB|1GB", ("memory_gb", 0.5, 1)),
        ("http_req_duration: p(95)<300", ("p95_ms", 300, 600)),
        ("http_req_failed: rate<0.01", ("error_percent", 1, 4)),
        ("http_req_failed:rate<1%", ("error_percent", 1, 4)),
        ("http_reqs: rate>100", ("rate_per_s", 100, 50)),
        ("checks: rate>0.99", ("error_percent", pytest.approx(1), pytest.approx(4))),
    ],
)
def test_what_k6_and_we_write(text, expected):
    assert read(text) == expected


def test_levels_that_are_not_named_are_those_of_the_default_table():
    written = ["p(95)<300", "p(99)<500", "errors<0.5%", "hits>50%", "queue<50", "cpu<70%", "memory<6GB"]

    assert parse(written) == DEFAULT_OBJECTIVES


@pytest.mark.parametrize(
    ("text", "value", "state"),
    [
        ("p(95)<300", 300, "warning"),
        ("p(95)<=300", 300, "ok"),
        ("errors<=0%", 0, "ok"),
        ("errors<=0%", 0.01, "warning"),
        ("goodput>=100%", 100, "ok"),
        ("goodput>=100%", 99.5, "warning"),
        ("rate>=100", 100, "ok"),
    ],
)
def test_the_limit_itself_is_met_only_where_the_operator_says_so(text, value, state):
    assert parse([text])[0].state(value) == state


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p(97)<300", "no percentile 97; there are 50, 90, 95, 99, 99.9"),
        ("ttft p(10)<300", "no percentile 10"),
        ("p(95)", "expected QUANTITY OPERATOR LEVEL"),
        ("", "expected QUANTITY OPERATOR LEVEL"),
        ("p(95)<soon", "soon is not a number"),
        ("p(95)<300 parsecs", "parsecs does not fit p95 latency"),
        ("p(95)>300", "p95 latency is to stay below its target"),
        ("p(95)==300", "== cannot be judged on a measurement"),
        ("p(95)<0", "0 must be above 0"),
        ("p(95)<-3", "-3 must be above 0"),
        ("p(95)<1e999", "must be above 0"),
        ("p(95)<300|200", "the critical level 200 must be above the target 300"),
        ("p(95)<300|300", "must be above the target"),
        ("rate>100|200", "the critical level 200 must be below the target 100"),
        ("rate<0.01", "for failures write errors<1%"),
        ("errors<1", "a percentage needs its sign, as 1%"),
        ("errors<101%", "101% is more than 100 %"),
        ("errors<0%", "can never be met; write errors<=0%"),
        ("goodput>100%", "can never be met; write goodput>=100%"),
        ("memory<6", "no unit does not fit memory; write memory<6GB"),
        ("http_req_failed: rate<5", "5 is a share of the requests, from 0 to 1"),
        ("http_req_duration: errors<1%", "nothing measured is called http_req_duration errors"),
        ("http_reqs: count>100", "nothing measured is called http_reqs count"),
        ("latencyy<1", "nothing measured is called latencyy"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_an_example(text, message):
    with pytest.raises(ConfigError) as caught:
        parse([text])

    assert message in caught.value.message
    assert f"threshold {text!r}" in caught.value.message
    assert "p(95)<300" in caught.value.message


def test_two_thresholds_on_one_quantity_are_refused():
    with pytest.raises(ConfigError, match="p95 latency has a threshold already"):
        parse(["p(95)<300", "http_req_duration: p(95)<400"])


def test_a_later_place_overrules_an_earlier_one():
    assert merged(["p(95)<300", "errors<1%"], ["http_req_duration: p(95)<100"]) == (
        "http_req_duration: p(95)<100",
        "errors<1%",
    )


@given(
    quantity=st.sampled_from(QUANTITIES),
    target=st.floats(0.001, 99.9),
    share=st.floats(0.01, 0.99),
)
def test_an_objective_written_down_reads_as_itself(quantity, target, share):
    critical = target * share if quantity.higher_is_better else target / share
    unit = quantity.unit if quantity.unit in {"%", "GB"} else ""
    sign = ">" if quantity.higher_is_better else "<"
    if unit == "%":
        critical = min(critical, 100)
    (objective,) = parse([f"{quantity.written}{sign}{target!r}|{critical!r}{unit}"])

    assert objective.target == pytest.approx(target)
    assert parse([expression(objective)])[0].critical == pytest.approx(objective.critical)


@given(quantity=st.sampled_from(QUANTITIES), target=st.floats(0.001, 100))
def test_a_level_that_is_not_named_lies_beyond_the_target(quantity, target):
    critical = default_critical(quantity, target)

    assert critical < target if quantity.higher_is_better else critical >= target


def test_rows_are_judged_on_the_value_and_show_the_interval():
    rows = judge(parse(["p(95)<300", "errors<1%"]), {"p95_ms": Estimate(290, 270, 320)})

    assert [(row.name, row.value, row.low, row.high, row.state) for row in rows] == [
        ("p95_ms", 290, 270, 320, "ok"),
        ("error_percent", None, None, None, "unknown"),
    ]


@pytest.mark.parametrize(
    ("values", "asked", "state"),
    [
        ({"p95_ms": 1.0, "error_percent": 0.0}, True, "ok"),
        ({"p95_ms": 400.0, "error_percent": 0.0}, True, "warning"),
        ({"p95_ms": 700.0, "error_percent": 0.0}, True, "critical"),
        ({"p95_ms": 1.0}, True, "unknown"),
        ({"p95_ms": 700.0}, True, "critical"),
        ({"p95_ms": 1.0}, False, "ok"),
        ({"p95_ms": 400.0}, False, "warning"),
        ({}, False, "unknown"),
    ],
)
def test_what_could_not_be_measured_counts_only_when_it_was_asked_for(values, asked, state):
    rows = judge(parse(["p(95)<300", "errors<1%"]), {name: Estimate(value) for name, value in values.items()})

    assert slo_state(rows, asked=asked) == state


def test_without_thresholds_the_default_table_holds():
    assert objectives(()) == DEFAULT_OBJECTIVES


def test_a_file_of_objectives(tmp_path):
    file = tmp_path / "slo.toml"
    file.write_text(
        """
        thresholds = ["p(99)<500|1000"]
        [[objective]]
        name = "p95_ms"
        target = 300
        [[objective]]
        name = "errors"
        target = 0
        critical = 2
        """
    )

    found = parse(read_slo(file))

    assert [(o.name, o.target, o.critical) for o in found] == [
        ("p99_ms", 500, 1000),
        ("p95_ms", 300, 600),
        ("error_percent", pytest.approx(0, abs=1e-6), 2),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"thresholds = [", "slo.toml: "),
        (b"\xff", "slo.toml: "),
        (b"", 'no thresholds; write thresholds = ["p(95)<300"]'),
        (b"threshold = []", "unknown field `threshold`"),
        (b'thresholds = ["p(96)<1"]', "no percentile 96"),
        (b'[[objective]]\nname = "speed"\ntarget = 1', "nothing measured is called speed; there are p50_ms"),
        (b'[[objective]]\nname = "p95_ms"\ntarget = 1\ncritical = 0.5', "must be above the target"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, content, message):
    file = tmp_path / "slo.toml"
    file.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        read_slo(file)

    assert message in caught.value.message
    assert caught.value.message.startswith(f"--slo {file}: ")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_slo(tmp_path / "none.toml")

"""The page stands alone, says every number of the report, and of an invalid run none that could be quoted."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import msgspec
import pytest
from reports import (
    PLAN,
    VARIANTS,
    endurance,
    inconclusive,
    invalid,
    met,
    missed,
    sample,
    series,
    streaming,
    valid,
)

from paceline.base.figures import estimate, interval, latency
from paceline.measure.comparison.change import Change
from paceline.measure.comparison.compare import Comparison, Side
from paceline.measure.failure import Failure
from paceline.measure.plan import Payload, Target
from paceline.measure.render.page import headline, render
from paceline.measure.render.page_details import without_password
from paceline.measure.render.page_tables import FAILURES
from paceline.measure.report import Estimate

VOID = {"meta", "link", "br", "img"}
HOSTILE = '</script><img src=x onerror="alert(1)">\'&"'


class Reader(HTMLParser):
    """Checks that elements nest, and gathers text and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert tag == self.open.pop()

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert [] == reader.open
    return reader


def words(page: str) -> str:
    """What a reader sees, with plain spaces and signs."""
    text = " ".join(read(page).words)
    for typeset, plain in (("\xa0", " "), ("\N{MINUS SIGN}", "-"), ("\N{LESS-THAN OR EQUAL TO}", "<=")):
        text = text.replace(typeset, plain)
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_page_is_well_formed(name):
    page = render(VARIANTS[name]())

    read(page)
    drawings = [ET.fromstring(drawing) for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]

    assert {drawing.tag.rpartition("}")[2] for drawing in drawings} == {"svg"}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_page_loads_nothing(name):
    loaded = [
        value
        for tag, attributes in read(render(VARIANTS[name]())).seen
        for key, value in attributes.items()
        if key in {"src", "href", "srcset", "data", "action"} or "url(" in (value or "")
    ]

    assert ["data:,"] == loaded


def test_the_policy_lets_through_our_own_style_and_script_only():
    page = render(valid())
    policy = next(
        attributes["content"]
        for tag, attributes in read(page).seen
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]

    assert policy.startswith("default-src 'none';")
    for text in (style, script):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert "unsafe" not in policy
    assert not [attributes for _, attributes in read(page).seen if "style" in attributes]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_report_gives_the_same_page(name):
    report = VARIANTS[name]()

    assert render(report) == render(report)


def test_an_hour_of_seconds_stays_small():
    hour = msgspec.structs.replace(endurance(), series=series(3_600, 400, 112, step_s=1.0))

    assert len(render(hour).encode()) < 300_000


def test_what_comes_from_outside_is_escaped():
    plan = msgspec.structs.replace(
        PLAN,
        name=HOSTILE,
        target=Target(url=f"http://localhost/{HOSTILE}", method=HOSTILE, headers={"X-Note": HOSTILE}),
        payload=Payload(model=HOSTILE, body=HOSTILE),
    )
    report = sample(
        plan=plan,
        notes=[HOSTILE],
        failures={HOSTILE: 3},
        statuses={HOSTILE: 3},
        ended="stopped",
        ended_because=HOSTILE,
        stages=[msgspec.structs.replace(stage, name=HOSTILE) for stage in valid().stages],
        slo=[msgspec.structs.replace(row, label=HOSTILE, unit=HOSTILE) for row in valid().slo],
        run_id=HOSTILE,
        host=msgspec.structs.replace(valid().host, hostname=HOSTILE, cpu=HOSTILE),
    )
    page = render(report)

    assert not [tag for tag, attributes in read(page).seen if tag == "img" or "onerror" in attributes]
    assert "<img" not in page


def test_secrets_are_not_shown():
    target = Target(
        url="https://me:hush@example.org/v1", headers={"Authorization": "Bearer hush", "Accept": "*/*"}
    )
    page = render(sample(plan=msgspec.structs.replace(PLAN, target=target)))

    assert "hush" not in page
    assert "*/*" in page


def test_an_address_without_a_password_is_left_as_it_is():
    assert "http://localhost/a@b" == without_password("http://localhost/a@b")
    assert "http://[::1" == without_password("http://[::1")


@pytest.mark.parametrize("name", ["valid", "met", "missed", "streaming", "capacity", "endurance"])
def test_every_figure_is_on_the_page(name):
    report = VARIANTS[name]()
    seen = words(render(report))
    found = [
        *(estimate(each, "ms") for each in report.latency_ms.quantiles.values()),
        *(estimate(each, "ms") for each in report.service_ms.quantiles.values()),
        estimate(report.latency_ms.mean, "ms"),
        latency(report.latency_ms.max),
        f"{report.failed:,} of {report.sent:,} requests",
        *(f"{number:,}" for number in [*report.failures.values(), *report.statuses.values()]),
        *(latency(stage.p95_ms) for stage in report.stages),
        *(row.label for row in report.slo),
        *(check.message for check in report.validity.checks),
        *report.notes,
        report.run_id,
        report.host.hostname,
        report.host.fingerprint,
        report.plan.target.url,
    ]
    if report.streaming:
        timed = (report.streaming.ttft_ms, report.streaming.tpot_ms, report.streaming.itl_ms)
        found += [estimate(each, "ms") for one in timed for each in one.quantiles.values()]
        found += [f"{report.streaming.completion_tokens:,}", f"{report.streaming.token_events:,}"]
    if report.capacity:
        found.append(estimate(report.capacity.rate_per_s, "req/s"))
        found += [
            interval(probe.value, probe.low, probe.high, "ms")
            for probe in report.capacity.probes
            if probe.value
        ]
    for trend in report.trends:
        found.append(estimate(trend.per_hour, trend.unit))

    assert [] == [figure for figure in found if figure not in seen]


def test_an_invalid_run_gives_reasons_and_no_result():
    report = invalid()
    page = render(report)
    seen = words(page)

    assert "No result" in seen
    assert all(check.message in seen for check in report.validity.checks if check.state == "INVALID")
    numbers = [
        *(latency(each.value) for each in report.latency_ms.quantiles.values()),
        *(latency(each.value) for each in report.service_ms.quantiles.values()),
        *(latency(stage.p95_ms) for stage in report.stages),
        f"{report.done_per_s.value:.0f}",
        f"{report.done_per_s.value:.1f}",
        f"{report.goodput_percent} %",
    ]
    assert [] == [number for number in numbers if number in seen]
    assert not re.search(r"\bp(50|90|95|99) \d", seen)
    assert "<figure" not in page
    assert "application/json" not in page
    assert " met" not in seen.replace("Objectives met", "")
    assert len(report.slo) == seen.count("not judged")


def test_an_inconclusive_run_says_what_is_missing():
    seen = words(render(inconclusive()))

    assert "too few samples to rely on" in seen
    assert "no interval: 12 independent samples, p99 needs 300" in seen
    assert "Objectives met" not in seen


def test_the_verdict_is_in_words_and_shapes():
    good, bad = render(met()), render(missed())

    assert "Objectives met" in words(good)
    assert "Critical level crossed" in words(bad)
    for state in ("warning", "critical", "ok"):
        assert f'class="icon {state}"' in bad


def test_the_headline_names_the_capacity_or_the_percentile():
    found = VARIANTS["capacity"]()
    assert found.capacity is not None
    nothing = msgspec.structs.replace(found.capacity, rate_per_s=Estimate(reason="it never held"))

    assert "412 req/s [398, 425] held p95 <= 300 ms" == headline(found)
    assert "No rate was found that holds p95 <= 300 ms" == headline(sample(capacity=nothing))
    assert headline(valid()).startswith("429 req/s answered with p95 ")
    assert "first token p95" in headline(streaming())


def test_what_qualifies_the_result_stands_beside_it():
    report = msgspec.structs.replace(
        endurance(), ended="interrupted", ended_because="Ctrl-C", steady="rising"
    )
    seen = words(render(report)).split("throughput")[0]

    assert "interrupted: Ctrl-C" in seen
    assert "still rising" in seen
    assert "memory is growing by" in seen


def test_the_crosshair_has_the_values_of_the_series():
    page = render(valid())
    told = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])
    rows = {name: values for name, _, values in told["rows"]}

    assert len(valid().series.at_s) == len(told["at"])
    assert valid().series.p99_ms == pytest.approx(rows["p99"], rel=1e-3)


def test_a_report_of_nothing_is_a_page_all_the_same():
    nothing = msgspec.structs.replace(valid().latency_ms, count=0, effective=0.0, quantiles={}, histogram=[])
    empty = msgspec.structs.replace(
        valid().series,
        **{name: [] for name in valid().series.__struct_fields__ if name != "step_s"},
    )
    report = sample(
        latency_ms=nothing, service_ms=nothing, series=empty, slo=[], stages=[], server=None, failures={},
        statuses={}, sent=0, done=0, failed=0, offered_per_s=None, goodput_percent=None, done_per_s=Estimate(),
    )  # fmt: skip

    assert "no percentile could be had" in words(render(report))


def comparison() -> Comparison:
    """A run 20 % slower than the one before, on another machine."""
    changed = Change(
        "p95_ms", "p95 latency", "ms", False, 190.0, 228.0, Estimate(38.0, 31.0, 45.0), Estimate(0.2, 0.163, 0.237),
        9.0, 9.5, "paired", True, "slower",
    )  # fmt: skip
    same = msgspec.structs.replace(
        changed, label=HOSTILE, relative=Estimate(reason="no interval"), verdict="equivalent"
    )
    side = Side("run-a", "before", "2026-03-13T10:15:00Z", "http://localhost", "aa", "bench-03", "VALID")
    return Comparison(
        side, side, "paired", 70_000, 0.05, [changed, same], "slower", "p95 latency is slower",
        ["measured on different machines"],
    )  # fmt: skip


def test_a_comparison_says_both_values_and_the_difference():
    page = render(valid(), comparison=comparison())
    seen = words(page)

    for said in ("Against the baseline", "190 ms", "38.0 ms [31.0, 45.0]", "+20.0 % [16.3, 23.7]", "slower"):
        assert said in seen
    assert "measured on different machines" in seen
    assert "bench-03" in seen
    assert "<img" not in page


def test_an_invalid_run_is_not_compared():
    assert "Against the baseline" not in render(invalid(), comparison=comparison())


def test_every_kind_of_failure_is_explained():
    assert {kind.label for kind in Failure if kind} == set(FAILURES)


def test_tables_have_headers_and_captions():
    seen = read(render(valid())).seen
    tables = sum(tag == "table" for tag, _ in seen)

    assert tables == sum(tag == "caption" for tag, _ in seen)
    assert all(attributes.get("scope") in {"col", "row"} for tag, attributes in seen if tag == "th")


def _luminance(colour: str) -> float:
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1])
def test_words_stand_out_from_what_they_stand_on(theme):
    """WCAG 2: a contrast of 4.5 or more, in light and in dark."""
    blocks = re.findall(r":root \{(.*?)\}", render(valid()), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): #([0-9a-f]{6}|[0-9a-f]{3});", blocks[theme]))
    pairs = [
        *((text, ground) for text in ("text", "quiet", "accent") for ground in ("page", "panel")),
        *(
            (state, ground)
            for state in ("ok", "warning", "critical")
            for ground in (f"{state}-soft", "panel")
        ),
        *((line, "panel") for line in ("p95", "p99", "capacity")),
    ]
    low = []
    for text, ground in pairs:
        dark, light = sorted((_luminance(colours[text]), _luminance(colours[ground])))
        if (light + 0.05) / (dark + 0.05) < 4.5:
            low.append((text, ground))

    assert [] == low

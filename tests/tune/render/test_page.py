"""The page of a tune stands alone, and says every trial, knob and command of the report."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace
from tune_reports import (
    VARIANTS,
    applied,
    died,
    failed,
    foreign,
    infeasible,
    interrupted,
    kept,
    predictions,
    written,
)

from paceline.base.figures import estimate, interval, latency
from paceline.tune.render.page import render
from paceline.tune.render.wording import headline
from paceline.tune.report import Range
from paceline.tune.setting import label

VOID = {"meta", "link"}
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
    plain = {
        "\xa0": " ", "\N{MINUS SIGN}": "-", "\N{RIGHTWARDS ARROW}": "->", "\N{LESS-THAN OR EQUAL TO}": "<=",
        "µs": "us",
    }  # fmt: skip
    for typeset, typed in plain.items():
        text = text.replace(typeset, typed)
    return re.sub(r"\s+", " ", text)


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_page_is_well_formed(name):
    page = render(VARIANTS[name]())

    read(page)
    drawings = [ET.fromstring(drawing) for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]

    assert {drawing.tag.rpartition("}")[2] for drawing in drawings} == {"svg"}


@pytest.mark.parametrize("name", VARIANTS)
def test_no_drawing_holds_a_number_that_is_none(name):
    drawings = re.findall(r"<svg.*?</svg>", render(VARIANTS[name]()), re.DOTALL)

    assert not [drawing for drawing in drawings if re.search(r"\b(nan|inf|None)\b", drawing)]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_page_loads_nothing(name):
    loaded = [
        value
        for _, attributes in read(render(VARIANTS[name]())).seen
        for key, value in attributes.items()
        if key in {"src", "href", "srcset", "data", "action"} or "url(" in (value or "")
    ]

    assert ["data:,"] == loaded


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_report_gives_the_same_page(name):
    assert render(VARIANTS[name]()) == render(VARIANTS[name]())


@pytest.mark.parametrize("name", VARIANTS)
def test_the_verdict_comes_first(name):
    report = VARIANTS[name]()
    page = render(report)

    assert headline(report) in words(page)
    assert page.index('class="headline"') < page.index("<h2>")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_trial_knob_reason_and_command_is_on_the_page(name):
    report = VARIANTS[name]()
    seen = words(render(report))
    expected = [
        *(label(trial.setting) for trial in report.trials),
        *(trial.failed for trial in report.trials),
        *(latency(trial.values["p95_ms"]) for trial in report.trials if trial.values),
        *(estimate(told, "ms") for trial in report.trials if (told := trial.predicted_p95_ms) and told.value),
        *(knob.name for knob in report.knobs),
        *(knob.cost for knob in report.knobs),
        *(label(each.setting) for each in report.standings),
        *(each.because for each in report.standings),
        *(check.because for check in report.quality),
        *(step.because for step in report.steps),
        *report.why,
        *report.undo,
        *report.warnings,
        *(row.objective.label for row in report.baseline),
        report.url,
        report.machine,
        report.run_id,
        f"seed {report.seed}",
    ]
    if report.calibration:
        expected += [
            interval(each.value, each.low, each.high, each.unit) for each in report.calibration.coefficients
        ]
        expected += [each.meaning for each in report.calibration.coefficients]

    assert [] == [figure for figure in expected if figure not in seen]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_trial_has_a_row(name):
    report = VARIANTS[name]()
    tables = re.findall(
        r"<caption>(?:Live runs|Parts of the A/B)</caption>.*?</table>", render(report), re.DOTALL
    )

    assert len(report.trials) == sum(table.count('scope="row"') for table in tables)


def test_the_changes_stand_with_their_old_values_and_the_way_back():
    report = written()
    seen = words(render(report))

    assert "embed.batch.max_cost 512 tokens 128 tokens live" in seen
    assert "Written to tuned.toml ." in seen
    assert "How to undo it rm tuned.toml" in seen


def test_both_sides_stand_with_their_states():
    seen = words(render(applied()))

    assert "p95 latency 61.2 ms missed 22.4 ms met -63 % < 40 ms < 80 ms" in seen


def test_what_is_not_there_has_no_section():
    assert ["Objectives", "What happened", "Details"] == [
        title
        for title in headings(render(interrupted()))
        if title not in {"The predictions", "Every live run"}
    ]
    assert ["Objectives", "What happened"] == headings(render(failed()))
    assert "Every simulated setting" not in headings(render(foreign()))
    assert "predicted" not in words(render(foreign()))
    assert "How to undo it" not in render(kept())
    assert "Before and after" not in headings(render(kept()))


def test_an_infeasible_objective_shows_the_closest_setting_and_what_binds():
    titles = headings(render(infeasible()))

    assert "The closest setting, not applied" in titles
    assert "What stands in the way" in titles
    assert "What changes" not in titles


def test_what_was_rolled_back_is_named_with_the_way_to_do_it_by_hand():
    page = render(died())

    assert "What was taken back" in headings(page)
    assert "By hand curl" in words(page)
    assert "objective baseline in the A/B change" in words(page)


def test_a_saturated_setting_never_shows_a_latency():
    trial = replace(applied().trials[0], predicted_p95_ms=Range(reason="saturated"), values={})
    page = render(replace(applied(), trials=[trial], ab=None))

    assert "1 baseline baseline saturated" in words(page)
    assert re.search(r"p95 saturated, [\d.]+ ms of engine a request", words(page))


def test_a_target_above_the_chart_is_told_in_words():
    report = applied()
    far = [replace(report.objectives[0], target=90_000.0, critical=95_000.0)]

    assert "The target of 90,000 ms is above the chart." in words(render(replace(report, objectives=far)))


def test_what_comes_from_outside_is_escaped():
    report = applied()
    setting = {HOSTILE: HOSTILE}
    page = render(
        replace(
            report,
            url=HOSTILE,
            machine=HOSTILE,
            run_id=HOSTILE,
            winner=setting,
            written_to=HOSTILE,
            why=[HOSTILE],
            undo=[HOSTILE],
            warnings=[HOSTILE],
            workload=replace(report.workload, source=HOSTILE),
            knobs=[replace(report.knobs[0], name=HOSTILE, values=[HOSTILE], unit=HOSTILE, cost=HOSTILE)],
            trials=[replace(trial, setting=setting, failed=HOSTILE) for trial in report.trials],
            predictions=[replace(row, setting=setting) for row in report.predictions],
            standings=[replace(each, setting=setting, because=HOSTILE) for each in report.standings],
            quality=[replace(each, metric=HOSTILE, because=HOSTILE) for each in report.quality],
            steps=[replace(step, setting=setting, because=HOSTILE) for step in report.steps],
            ab=replace(report.ab, metric=HOSTILE),
        )
    )

    assert not [tag for tag, attributes in read(page).seen if tag == "img" or "onerror" in attributes]
    assert "<img" not in page


def test_thousands_of_settings_stay_small():
    rows = [
        replace(row, cost_ms=row.cost_ms * (1 + 0.01 * copy), setting={**row.setting, "embed.copy": copy})
        for copy in range(10)
        for row in predictions()
    ]

    assert len(render(replace(applied(), predictions=rows)).encode()) < 700_000


def test_tables_have_headers_and_captions():
    seen = read(render(applied())).seen
    tables = sum(tag == "table" for tag, _ in seen)

    assert tables == sum(tag == "caption" for tag, _ in seen)
    assert all(attributes.get("scope") in {"col", "row"} for tag, attributes in seen if tag == "th")

"""The report for people."""

import io
import xml.etree.ElementTree as ET

import msgspec
import pytest
from small_corpus import result, small_report

from paceline.vectors.bench.render import page, terminal, wording
from paceline.vectors.bench.report import BenchReport, Changes, Held, Point


def shown(report):
    stream = io.StringIO()
    terminal.show(report, stream=stream, files={"html": "bench.html"})
    return stream.getvalue()


def test_the_headline_is_ours_beside_the_best_other():
    assert (
        wording.headline(small_report())
        == "20,000/s on one core at recall >= 0.99: 2.00 times faiss-sq8, the best of 1 others"
    )


def test_the_headline_without_others_and_without_ours():
    alone = small_report(results=[result("paceline", "ours", 20_000.0)])

    assert wording.headline(alone) == "20,000/s on one core at recall >= 0.99"
    assert "none of them in rounds" in wording.headline(small_report(results=[]))
    others = small_report(results=[result("faiss-sq8", "library", 10_000.0)])
    assert wording.headline(others) == "faiss-sq8 is the quickest at recall >= 0.99: 10,000/s on one core"


def test_the_terminal_shows_every_part():
    text = shown(small_report())

    for words in (
        "recall >= 0.99",
        "0.500x",
        "bytes a vector",
        "9,600/s",
        "5,000/s",
        "0.9905 at ef 40",
        "re-scored on",
        "bench.html",
        "chroma failed: RuntimeError: no room",
        "faiss-sq8 does not reach recall 0.999; 0.9950 at most.",
        "Not installed: milvus-flat (pip install milvus-lite).",
        "abcdef123456",
        "seed 3",
        "bench-04",
    ):
        assert words in text


def test_a_figure_of_some_queries_says_of_how_many_they_are():
    held = Held(0.99, 40, 0.9912, 9.0, 8.0, 10.0, 60.0, 110.0, 5, single_queries=94)
    point = Point(16, 0.92, 9.0, 60.0, 80.0, 700, 120)
    changes = Changes(100, 5_000.0, 9_000.0, 0.9905, 40, queries=35)
    slow = result("milvus-flat", "product", 9.0, held=[held], curve=[point], changes=changes)

    assert wording.notes(small_report(results=[slow]))[:3] == [
        "milvus-flat answered 94 queries one by one, at least, of 40 in the rounds: its time was up.",
        "milvus-flat answered 700 queries in one call and 120 one by one, at least, of 40 in the curve: its time was up.",
        "milvus-flat answered 35 queries after the changes: its time was up.",
    ]
    assert not any("answered" in note for note in wording.notes(small_report()))


def test_an_interrupted_run_says_so():
    assert "Ctrl-C ended the run" in shown(small_report(interrupted=True))
    assert "Interrupted" in page.render(small_report(interrupted=True))


def test_the_page_has_a_line_and_a_bar_for_all_that_were_measured():
    html = page.render(small_report())

    for kind in ("ours s0", "library s1"):
        assert html.count(f'class="line {kind}"') == 2 * 3  # two charts in three widths
        assert html.count(f'class="bar {kind}"') == 2 * 2
    assert 'class="line product s2"' not in html  # it failed before it was searched


def test_the_page_needs_nothing_from_elsewhere():
    html = page.render(small_report())

    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html


def test_drawings_are_well_formed():
    html = page.render(small_report())
    pictures = [f"<svg{part.split('</svg>')[0]}</svg>" for part in html.split("<svg")[1:]]

    assert len(pictures) >= 10
    for picture in pictures:
        ET.fromstring(picture)


def test_a_name_is_words_and_no_markup():
    report = small_report(results=[result("paceline", "ours", 1.0, failed="<b>bold</b>")])

    assert "<b>bold" not in page.render(report)


@pytest.mark.parametrize("missing", [{"curve": []}, {"size": None}, {"build": None}, {"held": []}])
def test_a_result_that_lacks_a_part_is_shown_without_it(missing):
    report = small_report(results=[result("paceline", "ours", 20_000.0, **missing)])

    assert "paceline" in page.render(report)
    assert "paceline" in shown(report)


def test_the_report_survives_json():
    report = small_report()

    assert msgspec.json.decode(msgspec.json.encode(report), type=BenchReport) == report

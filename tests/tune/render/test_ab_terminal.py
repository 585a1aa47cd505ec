"""The A/B as people read it on a terminal, and as lines in a file."""

from __future__ import annotations

import io

import pytest
from ab_reports import AB_VARIANTS, better, died, equivalent, failed, interrupted, undecided

from paceline.tune.ab_report import decode, encode
from paceline.tune.render.ab_terminal import show
from paceline.tune.render.ab_words import WORDS, headline


def piped(report, **more):
    stream = io.StringIO()
    show(report, stream=stream, **more)
    return stream.getvalue()


@pytest.mark.parametrize("name", AB_VARIANTS)
def test_the_first_line_is_the_verdict_and_all_is_plain(name):
    report = AB_VARIANTS[name]()
    text = piped(report)

    assert text.startswith(f"{WORDS[report.outcome]}  {headline(report)}")
    assert text.isascii()
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (better, "B is better than A: p95 latency 48.2 ms -> 34.7 ms (-28 % [-35, -20])"),
        (
            equivalent,
            "A and B are within 2 % of each other: p95 latency 48.2 ms -> 34.7 ms (+0.1 % [-1.0, +1.2])",
        ),
        (
            undecided,
            "Neither is better for sure: CPU time a good request 0.0121 s -> 0.0119 s (-2.0 % [-9.0, +5.0])",
        ),
        (died, "B is worse than A: B has nothing to show in 3 blocks"),
        (failed, "Neither side could be measured"),
        (interrupted, "Stopped by hand"),
    ],
)
def test_the_verdict_is_a_sentence(report, sentence):
    assert headline(report()) == sentence


def test_objectives_are_shown_for_both_sides():
    line = next(line for line in piped(better()).splitlines() if line.startswith("p95"))

    assert line.split() == [
        *("p95", "latency", "<", "40", "ms"),
        *("48.2", "ms", "missed", "34.7", "ms", "met"),
        *("-28", "%", "[-35,", "-20]"),
    ]


def test_what_is_compared_has_a_line_of_its_own_where_it_is_no_objective():
    assert "CPU time a good request" in piped(undecided()).split("compared", 1)[1]
    assert "compared" not in piped(better())


def test_a_side_that_failed_says_why():
    assert "failed     B failed in 3 of 3 blocks: connection refused" in piped(died())


def test_files_are_named():
    assert piped(better(), files={"page": "ab.html"}).endswith("\npage       ab.html\n")


@pytest.mark.parametrize("name", AB_VARIANTS)
def test_the_report_is_json_and_comes_back_the_same(name):
    report = AB_VARIANTS[name]()

    assert decode(encode(report)) == report

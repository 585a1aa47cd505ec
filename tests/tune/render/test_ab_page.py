"""The page of an A/B stands alone, and says the verdict first."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from ab_reports import AB_VARIANTS, better, died, failed, interrupted
from msgspec.structs import replace

from paceline.tune.render.ab_page import render
from paceline.tune.render.ab_words import headline

HOSTILE = '</script><img src=x onerror="alert(1)">\'&"'


class Words(HTMLParser):
    """What a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.feed(re.sub(r"<(style|script).*?</\1>", "", page, flags=re.DOTALL))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words(page):
    """With plain spaces and signs."""
    text = " ".join(Words(page).words)
    for typeset, typed in {"\xa0": " ", "\N{MINUS SIGN}": "-", "\N{RIGHTWARDS ARROW}": "->"}.items():
        text = text.replace(typeset, typed)
    return re.sub(r"\s+", " ", text)


def headings(page):
    return re.findall(r"<h2>(.*?)</h2>", page)


@pytest.mark.parametrize("name", AB_VARIANTS)
def test_the_verdict_comes_first(name):
    report = AB_VARIANTS[name]()
    page = render(report)

    assert headline(report) in words(page)
    assert page.index('class="headline"') < (page + "<h2>").index("<h2>")


@pytest.mark.parametrize("name", AB_VARIANTS)
def test_drawings_are_well_formed_and_hold_no_number_that_is_none(name):
    drawings = re.findall(r"<svg.*?</svg>", render(AB_VARIANTS[name]()), re.DOTALL)

    assert drawings
    assert all(ET.fromstring(drawing).tag.endswith("svg") for drawing in drawings)
    assert not [drawing for drawing in drawings if re.search(r"\b(nan|inf|None)\b", drawing)]


def test_both_sides_and_every_block_are_on_the_page():
    page = words(render(better()))

    assert headings(render(better())) == ["Objectives", "The proof", "Every block"]
    assert "A is the server's own settings" in page
    assert "B is settings-b.toml: max_size=8" in page
    assert "48.2 ms missed" in re.sub(r"(?<=ms) +", " ", page)
    assert page.count("48.0 ms") == 3
    assert "-28 % [-35, -20]" in page


def test_a_side_that_failed_says_why():
    assert "B failed in 3 of 3 blocks: connection refused" in words(render(died()))
    assert "A failed in 3 of 3 blocks: connection refused" in words(render(failed()))


def test_without_a_block_there_is_nothing_to_prove():
    assert headings(render(interrupted())) == []


def test_names_cannot_escape_into_markup():
    report = better()
    page = render(replace(report, a=replace(report.a, name=HOSTILE), source=HOSTILE))

    assert "<img" not in page
    assert 'onerror="' not in page

"""Elements are well-formed whatever they are given."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from paceline.base.page.svg import area, drawing, label, number, path, region, tag

printable = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cn", "Cc")))


@given(printable)
def test_words_come_back_as_they_were(words):
    read = ET.fromstring(drawing(10, 10, words, label(words, 1, 2)))

    assert words == read.attrib["aria-label"]
    assert words == (read.find("text").text or "")


def test_attributes_take_their_svg_names():
    assert '<rect class="bar" stroke-width="1.5"></rect>' == tag(
        "rect", class_="bar", stroke_width=1.5, x=None
    )


def test_coordinates_are_tenths_of_a_pixel():
    assert ["1", "1.3", "0", "-2"] == [number(value) for value in (1.0, 1.26, -0.01, -2)]


def test_none_lifts_the_pen():
    assert '<path d="M0,1L2,3M4,5L6,7" class="a"></path>' == path([(0, 1), (2, 3), None, (4, 5), (6, 7)], "a")


def test_a_point_alone_is_a_dot():
    assert '<path d="M0,1L0,1" class="a"></path>' == path([None, (0, 1), None], "a")
    assert "" == path([None], "a")


def test_an_area_stands_on_its_base():
    assert '<path d="M0,9L0,1L2,3V9Z" class="a"></path>' == area([(0, 1), (2, 3)], 9, "a")


def test_a_region_is_closed_and_needs_three_points():
    assert '<path d="M0,1L2,3L4,5Z" class="a"></path>' == region([(0, 1), (2, 3), (4, 5)], "a")
    assert "" == region([(0, 1), (2, 3)], "a")

"""Words become type, states become shapes, and what is empty is left out."""

from __future__ import annotations

from paceline.base.page.marks import folded, icon, section, table, typeset


def test_units_stay_on_the_line_of_their_number_and_minus_is_a_minus():
    assert "12\xa0µs \N{LESS-THAN OR EQUAL TO} \N{MINUS SIGN}3\xa0%" == typeset("12 us <= -3 %")
    assert "a&lt;b" == typeset("a<b")


def test_every_state_has_a_shape_of_its_own():
    assert 4 == len({icon(state).partition(">")[2] for state in ("ok", "warning", "critical", "unknown")})


def test_a_table_has_a_caption_and_headers_with_a_scope():
    drawn = table("Knobs", ["knob", "value"], [["a", "1"]], numbers=[1])

    assert "<caption>Knobs</caption>" in drawn
    assert '<th scope="row">a</th><td class="number">1</td>' in drawn


def test_a_part_without_content_is_left_out():
    assert "" == section("Knobs", "", "")
    assert "" == folded("Knobs", "")


def test_arrows_are_arrows():
    assert "41\xa0ms \N{RIGHTWARDS ARROW} 30\xa0ms" == typeset("41 ms -> 30 ms")

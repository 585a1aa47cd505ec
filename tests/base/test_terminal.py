"""Sections of a report fit the terminal they are printed on, and are plain lines anywhere else."""

from __future__ import annotations

import io

import pytest

from paceline.base.terminal import broken, facts, print_sections, table, verbatim, verdict


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def piped(*sections):
    stream = io.StringIO()
    print_sections(stream, lambda width: sections)
    return stream.getvalue()


@pytest.fixture
def forty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_sections_stand_apart_by_one_empty_line_and_end_without_one():
    text = piped(facts([("run", "abc")], 80), facts([("load", "400/s"), ("", "for 20 s")], 80))

    assert "run        abc\n\nload       400/s\n           for 20 s\n" == text


def test_the_sections_are_told_how_wide_the_terminal_is(forty_columns):
    widths = []
    print_sections(Screen(), lambda width: widths.append(width) or [])

    assert [40] == widths


def test_lines_are_broken_after_clauses_and_never_inside_an_interval():
    assert ["p95 12 ms [10, 14],", "p99 20 ms [18, 22]"] == broken(
        "p95 12 ms [10, 14], p99 20 ms [18, 22]", 20
    )
    assert ["One, two, three, four."] == broken("One, two, three, four.", 10)


def test_a_verdict_is_a_word_with_its_reason_beside_it():
    assert "PASS  7 of 7\n" == piped(verdict("PASS", "7 of 7", 80, "green"))


def test_columns_of_numbers_are_flush_right():
    assert "stage  p95\npeak    20\n" == piped(table(("stage", "p95"), [("peak", "20")]))


def test_only_whole_cells_are_coloured(forty_columns):
    screen = Screen()
    print_sections(
        screen, lambda width: [table(("state",), [("met",), ("not met",)], colours={"met": "green"})]
    )

    assert 1 == screen.getvalue().count("\x1b[32m")


def test_nothing_from_outside_reaches_the_terminal_as_a_command():
    assert "note       ?]0;owned?\n" == piped(facts([("note", "\x1b]0;owned\x07")], 80))


def test_lines_to_copy_are_never_broken(forty_columns):
    screen = Screen()
    command = "paceline config set, " * 5
    print_sections(screen, lambda width: [verbatim("undo", [command, "second"])])

    assert f"  {command}\n  second\n" in screen.getvalue()

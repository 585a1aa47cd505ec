"""The tune as people read it on a terminal, and as lines in a file."""

from __future__ import annotations

import io
import re

import pytest
from msgspec.structs import replace
from tune_reports import VARIANTS, applied, died, foreign, infeasible, interrupted

from paceline.tune.render import terminal
from paceline.tune.render.wording import WORDS, headline
from paceline.tune.report import Range


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def piped(report, **more):
    stream = io.StringIO()
    terminal.show(report, stream=stream, **more)
    return stream.getvalue()


def plain(report):
    screen = Screen()
    terminal.show(report, stream=screen)
    return re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())


@pytest.mark.parametrize("name", VARIANTS)
def test_the_first_line_is_the_verdict(name):
    report = VARIANTS[name]()

    assert piped(report).startswith(f"{WORDS[report.outcome]}  {headline(report)}")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_pipe_gets_plain_lines_without_colour_or_padding(name):
    text = piped(VARIANTS[name]())

    assert text.isascii()
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("name", VARIANTS)
def test_a_terminal_of_eighty_columns_breaks_everything_but_commands(name, eighty_columns):
    report = VARIANTS[name]()
    lines = plain(report).splitlines()
    commands = [f"  {command}" for command in report.undo]

    assert set(commands) <= {*lines}
    assert 80 >= max(len(line) for line in lines if line not in commands)
    assert sorted(plain(report).split()) == sorted(piped(report).split())


def test_both_sides_of_every_objective_are_shown():
    lines = piped(applied()).splitlines()

    assert "p95 latency  < 40 ms   61.2 ms  missed  22.4 ms  met     -63 %" in lines
    assert "embed.batch.max_cost     512 tokens  128 tokens  live" in lines


def test_the_proof_the_reasons_and_the_way_back_are_shown():
    text = piped(applied(), files={"page": "/tmp/tune.html"})

    assert "A/B        p95 latency 61.0 ms -> 22.4 ms (-62 % [-67, -58]), better after 9 blocks\n" in text
    assert f"why        {applied().why[0]}\n           {applied().why[1]}\n" in text
    assert "\nundo\n  curl -X PATCH" in text
    assert text.endswith("\n\npage       /tmp/tune.html\n")


def test_a_run_that_failed_says_why():
    text = piped(died())

    assert "failed     run 7: the server died after 214 requests: signal 9\n" in text
    assert re.search(r"^ 8 max_wait_ms=0.0 .* -  failed$", text, re.MULTILINE)


def test_a_trial_without_a_verdict_is_not_measured_and_one_that_is_saturated_has_no_number():
    trial = replace(interrupted().trials[0], violation=None, predicted_p95_ms=Range(reason="saturated"))

    assert re.search(
        r"^ 1 baseline .* saturated .* not measured$",
        piped(replace(interrupted(), trials=[trial])),
        re.MULTILINE,
    )


def test_a_server_that_was_not_simulated_has_no_column_of_predictions():
    assert "predicted" not in piped(foreign())


def test_of_an_infeasible_objective_the_closest_setting_is_shown():
    text = piped(infeasible())

    assert re.search(r"^objective +target +baseline +state +closest", text, re.MULTILINE)
    assert "embed.batch.max_cost" in text


def test_nothing_from_a_server_reaches_the_terminal_as_a_command(eighty_columns):
    hostile = "\x1b]0;owned\x07"
    screen = Screen()
    terminal.show(replace(applied(), why=[hostile], undo=[hostile], url=hostile), stream=screen)

    assert "\x1b]" not in screen.getvalue()
    assert 3 <= screen.getvalue().count("?]0;owned?")

"""A tune while it goes on."""

from __future__ import annotations

import io
import re

import pytest

from paceline.tune.render.progress import LineWatcher, TerminalWatcher, watching
from paceline.tune.watcher import Silence, Watcher


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def tune(watcher: Watcher, now: Time) -> None:
    """Two phases as a pipeline would tell of them."""
    watcher.phase("calibrate", None)
    now.s += 7.0
    watcher.step("3 runs, median error 4.3 %")
    watcher.phase("simulate", 1_200)
    for _ in range(12):
        now.s += 0.05
        watcher.advance(100)
    watcher.note("35 settings are saturated")


def test_a_pipe_gets_one_line_for_each_step_with_its_time():
    now, stream = Time(), io.StringIO()
    with watching(stream, now=now) as watcher:
        tune(watcher, now)

    assert isinstance(watcher, LineWatcher)
    assert [
        "0:00  calibrate",
        "0:07  calibrate: 3 runs, median error 4.3 %",
        "0:07  simulate: 1,200 to do",
        "0:08  note: 35 settings are saturated",
    ] == stream.getvalue().splitlines()


def test_a_step_before_any_phase_stands_alone():
    stream = io.StringIO()
    LineWatcher(stream, Time()).step("hello\x1b[2J")

    assert "0:00  hello?[2J\n" == stream.getvalue()


def test_a_terminal_keeps_what_is_done_and_the_bar_goes(eighty_columns):
    now, screen = Time(), Screen()
    with watching(screen, now=now) as watcher:
        tune(watcher, now)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())

    assert isinstance(watcher, TerminalWatcher)
    assert f"{'':16}3 runs, median error 4.3 %\n" in text
    assert "calibrate       7 s\n" in text
    assert "simulate        600 ms\n" in text
    assert "note            35 settings are saturated\n" in text
    assert screen.getvalue().endswith("\x1b[2K")


def test_a_terminal_shows_how_far_the_phase_is_at_most_ten_times_a_second(eighty_columns):
    now, screen = Time(), Screen()
    with watching(screen, now=now) as watcher:
        watcher.phase("simulate", 1_200)
        for _ in range(12):
            now.s += 0.05
            watcher.advance(100)
    shown = re.findall(r"([\d,]+) of 1,200", screen.getvalue())

    assert ["0", "200", "400", "600", "800", "1,000", "1,200"] == sorted(
        set(shown), key=lambda words: int(words.replace(",", ""))
    )


def test_the_terminal_is_given_back_when_the_tune_breaks_off(eighty_columns):
    screen = Screen()

    def broken_off():
        with watching(screen, now=Time()) as watcher:
            watcher.phase("verify", 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()

    assert "\x1b[?25h" in screen.getvalue()


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")

    with watching(Screen()) as watcher:
        assert isinstance(watcher, LineWatcher)


def test_silence_says_nothing(capsys):
    tune(Silence(), Time())

    assert ("", "") == capsys.readouterr()

"""A run while it goes on."""

from __future__ import annotations

import io
import re

import pytest
import reports
from rich.console import Console

from paceline.measure.progress import Progress
from paceline.measure.render.live import left_s, line, live, picture, share_done


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm-256color")


def moment(at_s, **changes):
    fields = {
        "phase": "",
        "elapsed_s": at_s,
        "total_s": 60.0,
        "scheduled": None,
        "sent": 4_120,
        "done": 4_111,
        "failed": 0,
        "in_flight": 9,
        "offered_per_s": 415.0,
        "done_per_s": 412.0,
        "recent_p50_ms": 12.1,
        "recent_p95_ms": 30.2,
        "recent_p99_ms": 51.0,
        "p50_ms": 11.9,
        "p95_ms": 29.8,
        "p99_ms": 48.2,
        "failures": {},
        "lag_p99_ms": 0.08,
    }
    return Progress(**(fields | changes))


def followed(moments, stream):
    with live(reports.PLAN, stream=stream) as on_progress:
        for now in moments:
            on_progress(now)
    return stream.getvalue()


def test_a_plain_line_can_be_read_and_searched():
    assert "  5s  rate 412/s  p50 12.1 ms  p95 30.2 ms  p99 51.0 ms  errors 0  in flight 9" == line(
        moment(5.0)
    )


def test_a_plain_line_says_more_when_there_is_more_to_say():
    now = moment(
        125.0,
        phase="peak",
        failed=3,
        failures={"timeout": 1, "status": 2},
        tokens_per_s=1234.0,
        lag_p99_ms=3.2,
    )

    assert line(now) == (
        "125s  rate 412/s  p50 12.1 ms  p95 30.2 ms  p99 51.0 ms  errors 3 (status 2, timeout 1)  in flight 9  "
        "tokens 1,230/s  generator late by 3.20 ms  peak"
    )


def test_a_second_without_an_answer_has_no_percentile():
    assert "p50 -  p95 -  p99 -" in line(
        moment(5.0, recent_p50_ms=None, recent_p95_ms=None, recent_p99_ms=None)
    )


def test_a_pipe_gets_a_line_every_five_seconds_of_the_run():
    lines = followed([moment(tenth / 10) for tenth in range(173)], io.StringIO()).splitlines()

    assert "measuring http://localhost:8080/v1/embeddings: open loop" in lines[0]
    assert ["  5s", " 10s", " 15s"] == [said[:4] for said in lines[1:]]


def test_the_next_probe_of_a_search_begins_a_new_count():
    twice = [*range(8), *range(8)]

    assert 3 == len(followed([moment(float(at)) for at in twice], io.StringIO()).splitlines())


def test_a_terminal_shows_one_picture_that_is_gone_at_the_end(eighty_columns):
    text = followed([moment(25.0, slo=reports.valid().slo)], Screen())
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)

    assert 80 >= max(len(row) for row in re.split(r"[\r\n]+", plain))
    assert "0:35 left" in plain
    assert re.search(r"p95 +30\.2 ms +29\.8 ms", plain)
    assert re.search(r"p95 latency +228 ms +< 300 ms +met", plain)
    assert text.rstrip("\r").endswith("\x1b[2K")


def test_a_picture_fits_a_terminal_of_twenty_four_lines():
    now = moment(25.0, slo=reports.valid().slo, tokens_per_s=1200.0)

    assert 24 >= len(Console(width=80).render_lines(picture(reports.PLAN, now)))


def test_a_picture_keeps_its_height_and_its_columns_while_numbers_change():
    console = Console(width=80)
    early = moment(1.0, recent_p99_ms=None, p99_ms=None, lag_p99_ms=None, done_per_s=3.0)
    late = moment(59.0, recent_p99_ms=12_345.0, failed=7, failures={"timeout": 7}, done_per_s=12_345.0)
    texts = [
        ["".join(part.text for part in row) for row in console.render_lines(picture(reports.PLAN, now))]
        for now in (early, late)
    ]

    assert len(texts[0]) == len(texts[1])
    assert len({row.index("whole run") for text in texts for row in text if "whole run" in row}) == 1


def test_a_terminal_is_not_drawn_more_than_ten_times_a_second(eighty_columns):
    often = followed([moment(hundredth / 100) for hundredth in range(100)], Screen())

    assert 12 >= often.count("last second")


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")

    assert "\x1b" not in followed([moment(6.0)], Screen())


@pytest.mark.parametrize(
    ("known", "share", "left"),
    [
        ({"total_s": 60.0}, 0.5, 30.0),
        ({"total_s": 20.0}, 1.0, 0.0),
        ({"total_s": None, "scheduled": 1_000, "done": 400, "failed": 100, "done_per_s": 50.0}, 0.5, 10.0),
        ({"total_s": None, "scheduled": 1_000, "done": 0, "done_per_s": 0.0}, 0.0, None),
        ({"total_s": None}, None, None),
    ],
)
def test_time_left_comes_from_the_schedule_or_from_the_requests_that_are_left(known, share, left):
    now = moment(30.0, **known)

    assert (share, left) == (share_done(now), left_s(now))

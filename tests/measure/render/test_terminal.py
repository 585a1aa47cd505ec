"""The report as people read it."""

from __future__ import annotations

import io
import re

import msgspec
import pytest
import reports

from paceline.measure.plan import ClosedLoop, Stage
from paceline.measure.render import terminal
from paceline.measure.report import Capacity, Estimate, SloRow


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


def seen(report):
    screen = Screen()
    terminal.show(report, stream=screen)
    return screen.getvalue()


def words(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text).split()


MET = SloRow("error_percent", "errors", "%", 0.5, 2, False, 0.08, 0.06, 0.1, "ok")
MISSED = SloRow("p95_ms", "p95 latency", "ms", 300, 600, False, 342.0, 328.0, 360.0, "warning")
CROSSED = SloRow("p99_ms", "p99 latency", "ms", 500, 1000, False, 1240.0, 1116.0, 1401.0, "critical")
UNKNOWN = SloRow("hit_percent", "cache hit rate", "%", 50, 30, True, None, None, None, "unknown")


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        ([MET], "PASS  1 of 1 objectives met"),
        ([MET, UNKNOWN], "PASS  1 of 2 objectives met; not measured: cache hit rate"),
        ([UNKNOWN], "NOT JUDGED  no objective was measured"),
        ([MET, MISSED], "MISSED  p95 latency 342 ms [328, 360], target < 300 ms"),
        ([CROSSED, MET], "CRITICAL  p99 latency 1,240 ms [1,120, 1,400], critical level < 1,000 ms"),
    ],
)
def test_the_first_line_is_the_verdict(rows, first):
    plan = msgspec.structs.replace(reports.PLAN, thresholds=())

    assert first == piped(reports.sample(slo=rows, plan=plan)).splitlines()[0]


def test_an_objective_that_was_asked_for_and_not_measured_leaves_the_verdict_open():
    plan = msgspec.structs.replace(reports.PLAN, thresholds=("errors<0.5%", "hits>50%"))

    assert piped(reports.sample(slo=[MET, UNKNOWN], plan=plan)).startswith(
        "INCONCLUSIVE  not measured: cache hit rate\n"
    )


def test_a_missed_target_outweighs_what_could_not_be_told():
    assert piped(msgspec.structs.replace(reports.inconclusive(), slo=[MISSED])).startswith(
        "MISSED  p95 latency"
    )


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("invalid", "INVALID  requests left 34.2 ms late at p99; the limit is 1 ms (and 1 more reason)"),
        ("inconclusive", "INCONCLUSIVE  12 independent samples, p99 needs 300"),
        ("capacity", "PASS  capacity 412 req/s [398, 425] at p95 <= 300 ms"),
    ],
)
def test_validity_and_capacity_come_before_the_objectives(name, first):
    assert first == piped(reports.VARIANTS[name]()).splitlines()[0]


def test_without_objectives_nothing_is_said_to_have_passed():
    assert piped(reports.sample(slo=[])).startswith("NOT JUDGED  no objectives were set\n")


@pytest.mark.parametrize("name", reports.VARIANTS)
def test_a_pipe_gets_plain_lines_without_colour_padding_or_breaks(name):
    text = piped(reports.VARIANTS[name]())

    assert text.isascii()
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize("name", reports.VARIANTS)
def test_a_terminal_of_eighty_columns_shows_the_same_words_and_no_longer_lines(name, eighty_columns):
    text = seen(reports.VARIANTS[name]())
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)

    assert sorted(words(text)) == sorted(words(piped(reports.VARIANTS[name]())))
    assert 80 >= max(map(len, plain.splitlines()))


def test_no_color_is_obeyed(eighty_columns, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    assert not re.findall(r"\x1b\[[0-9;]*3[0-7]", seen(reports.missed()))


def test_key_figures_stand_one_a_line_with_their_intervals():
    lines = piped(reports.valid()).splitlines()

    assert {
        "rate       429/s [425, 432]",
        "offered    430/s",
        "requests   73,302 sent, 73,245 good, 57 failed (0.08 %)",
        "failures   timeout 31, reset 18, status 8",
        "  p95      228 ms [219, 240]",
        "validity   VALID",
        "measured   2 min 46 s of 3 min, 14 s of warm-up cut, steady",
    } <= {*lines}


def test_a_percentile_that_could_not_be_had_shows_the_reason():
    lines = piped(reports.inconclusive()).splitlines()

    assert "  p99      238 ms (no interval: 12 independent samples, p99 needs 300)" in lines
    assert "  p99.9    no value: 12 independent samples, p99.9 needs 3,000" in lines


def test_a_reason_that_all_percentiles_share_is_said_once():
    bare = {
        name: Estimate(value, reason="the load changed") for name, value in (("p50", 110.0), ("p95", 228.0))
    }
    times = msgspec.structs.replace(
        reports.valid().latency_ms, quantiles=bare, mean=Estimate(1.0, reason="the load changed")
    )
    text = piped(reports.sample(latency_ms=times))

    assert 1 == text.count("the load changed")
    assert "\n  p95      228 ms\n" in text


def test_an_invalid_run_shows_no_latency_no_judgement_and_every_reason():
    everything = msgspec.structs.replace(
        reports.invalid(),
        streaming=reports.streaming().streaming,
        capacity=reports.capacity().capacity,
        trends=reports.endurance().trends,
    )
    text = piped(everything)
    unexplained = [line for line in text.splitlines() if not re.match("INVALID|generator| +generator", line)]

    assert not [line for line in unexplained if re.search(r"\d (us|ms)\b", line) and "< " not in line]
    assert not re.search(r"\b(met|missed|PASS)\b", text)
    assert "capacity" not in text
    assert "           generator cpu: its busiest worker used 99 % of a core; give --workers" in text
    assert "not shown: the run is INVALID" in text


def test_the_table_of_objectives_says_each_state_in_words():
    text = piped(reports.sample(slo=[MISSED, CROSSED, MET]))
    table = [line.split("  ")[-1].strip() for line in text.splitlines()]

    assert ["missed", "critical", "met"] == [cell for cell in table if cell in {"met", "missed", "critical"}]


def test_a_row_whose_interval_reaches_across_its_target_is_pointed_out():
    near = SloRow("p95_ms", "p95 latency", "ms", 300, 600, False, 290.0, 280.0, 310.0, "ok")
    report = reports.sample(slo=[near], notes=[])

    assert (
        "notes      p95 latency 290 ms [280, 310]: the interval reaches across its target of 300 ms"
        in piped(report)
    )


def test_stages_are_shown_when_there_are_several():
    assert re.search(r"^peak +2:00 - 3:00  480/s", piped(reports.valid()), re.MULTILINE)
    assert "peak" not in piped(reports.sample(stages=reports.valid().stages[:1])).replace("peak, ", "")


def test_the_stages_of_a_closed_loop_are_in_users():
    plan = msgspec.structs.replace(reports.PLAN, load=ClosedLoop((Stage(60, 50),)))

    assert "480 users" in piped(reports.sample(plan=plan))


def test_a_streamed_run_shows_its_tokens():
    text = piped(reports.streaming())

    assert re.search(r"^time to first token +205 ms +178 ms +417 ms +601 ms$", text, re.MULTILINE)
    assert "383,400 generated, 1,260,000 of prompts (by the server's own usage)" in text


def test_a_search_that_found_nothing_says_why():
    found = Capacity("p95 <= 300 ms", Estimate(reason="the lowest rate, 10/s, does not hold it"), [])

    assert piped(reports.sample(capacity=found)).startswith(
        "INCONCLUSIVE  capacity not found at p95 <= 300 ms: the lowest rate, 10/s, does not hold it\n"
    )


def test_what_grew_over_an_hour_stands_with_its_slope():
    assert re.search(
        r"^memory +1\.38 GB  36\.0 MB \[33\.1, 38\.8\] +growing$", piped(reports.endurance()), re.MULTILINE
    )


def test_users_of_a_closed_loop_are_never_late():
    made_by = msgspec.structs.replace(reports.valid().generator, lag_p50_ms=None, lag_p99_ms=None)

    assert "generator  CPU 31.0 % of a core, 2 workers" in piped(reports.sample(generator=made_by))


def test_a_run_that_was_cut_short_says_so():
    text = piped(reports.sample(ended="interrupted", ended_because="Ctrl-C after 12 s"))

    assert "ended      interrupted: Ctrl-C after 12 s" in text


def test_files_that_were_written_come_last():
    text = piped(reports.met(), files={"records": "/tmp/a.records", "page": "/tmp/a.html"})

    assert text.endswith("records    /tmp/a.records\npage       /tmp/a.html\n")


def test_nothing_a_server_said_reaches_the_terminal_as_a_command(eighty_columns):
    text = seen(reports.sample(notes=["\x1b]0;owned\x07 [red]not red[/red]"]))

    assert "?]0;owned? [red]not red[/red]" in text

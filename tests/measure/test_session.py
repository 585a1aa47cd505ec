"""Whole runs: from a plan to a report, against a real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import count

import pytest
from driving import chat, closed_plan, open_plan
from servers import serving

from paceline.base.errors import ConfigError, PacelineError, Unreachable
from paceline.measure.analysis.summary import summarise
from paceline.measure.plan import Stopping
from paceline.measure.records.record_file import read
from paceline.measure.session import Onlooker, measure


@pytest.fixture
def records(tmp_path):
    return tmp_path / "run.records"


def test_a_run_is_reported_and_its_records_tell_the_same_again(records):
    seen = []
    with serving("ok", delay_ms=2) as server:
        plan = open_plan(server.url, rate=200, seconds=1.2, process="poisson", thresholds=("p(50)<200",))
        report = measure(plan, records=records, onlooker=Onlooker(on_progress=seen.append))

        targets = [first["target"] for first in server.seen().first]
    assert targets.count("/") == report.sent + 1  # one was sent ahead
    assert targets.count("/metrics") == 1  # and nobody asks again for a page that is not there
    assert report.ended == "complete"
    assert (report.done, report.failed) == (report.scheduled, 0)
    assert report.latency_ms.count > 0
    assert report.server is not None
    assert summarise(read(records)) == report
    assert [moment.done for moment in seen] == sorted(moment.done for moment in seen)
    assert seen[-1].done == report.done


def test_a_stream_is_reported_with_its_tokens(records):
    with serving("sse", tokens=6, gap_ms=5) as server:
        report = measure(closed_plan(server.url, requests=12, users=3, payload=chat()), records=records)

    assert report.streaming is not None
    assert report.streaming.completion_tokens == 72
    assert report.streaming.token_events == 72


def test_nobody_there_is_said_before_anything_is_written(records):
    with serving("refuses") as server, pytest.raises(Unreachable):
        measure(open_plan(server.url), records=records)

    assert not records.exists()


def test_a_wrong_path_is_said_unless_it_shall_go_on(records):
    with serving("status", status=404) as server:
        plan = closed_plan(server.url, requests=5)
        with pytest.raises(PacelineError, match="answered 404"):
            measure(plan, records=records)
        report = measure(plan, records=records, check_first=False)

    assert report.failures == {"status": 5}
    assert report.statuses == {"404": 5}
    assert report.validity.state == "INVALID"


def test_records_are_never_written_over(records):
    records.write_text("mine")
    with serving("ok") as server, pytest.raises(ConfigError, match="exists already"):
        measure(closed_plan(server.url), records=records)

    assert records.read_text() == "mine"


def test_it_ends_when_too_many_fail(records):
    with serving("ok", die_after=150) as server:
        plan = open_plan(server.url, rate=400, seconds=60, stopping=Stopping(failures_percent=90))
        report = measure(plan, records=records)

    assert report.ended == "stopped"
    assert "of the last requests failed" in report.ended_because
    assert report.done < 150


def test_it_ends_when_the_percentile_is_known_well_enough(records):
    with serving("ok", delay_ms=5) as server:
        plan = open_plan(server.url, rate=1500, seconds=60, stopping=Stopping(precision=0.5, quantile=0.5))
        report = measure(plan, records=records)

    assert report.ended == "stopped"
    assert "p50 is known to within 50 %" in report.ended_because
    assert 1000 <= report.done < 60_000


def test_an_onlooker_can_end_it(records):
    asked = count()
    with serving("ok") as server:
        report = measure(
            open_plan(server.url, rate=100, seconds=60),
            records=records,
            onlooker=Onlooker(interrupted=lambda: next(asked) == 8),
        )

    assert report.ended == "interrupted"
    assert 0 < report.done < 6000


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from driving import open_plan
from paceline.measure.session import measure
measure(open_plan(sys.argv[1], rate=200, seconds=60), records=Path(sys.argv[2]))
"""


def test_a_killed_run_leaves_its_records_and_no_generator(records):
    script = SCRIPT.format(tests=os.path.dirname(__file__))  # noqa: PTH120
    with serving("ok") as server:
        with subprocess.Popen([sys.executable, "-c", script, server.url, str(records)]) as run:
            while server.requests_seen < 100:
                assert run.poll() is None
            run.send_signal(signal.SIGKILL)
        before = server.requests_seen
        until = time.monotonic() + 30
        while server.seen().open > 0:  # its worker hears that it is alone, and closes
            assert time.monotonic() < until
        report = summarise(read(records))

    assert report.ended == "broken_off"
    assert 50 <= report.done <= before + 200
    assert report.failed == 0

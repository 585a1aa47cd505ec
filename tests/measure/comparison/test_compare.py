"""Two runs compared: runs whose difference is known, through real records files and reports."""

import os
import random

import msgspec
import pytest
from recorded import HOST, STREAMED, record, walk
from reports import sample

from paceline.base.errors import ConfigError
from paceline.measure.analysis.summary import summarise
from paceline.measure.comparison.compare import Comparison, compare, compare_with_baseline
from paceline.measure.records.named_run import NamedRun
from paceline.measure.records.record_file import create, read
from paceline.measure.records.store import Store
from paceline.measure.report import Check, Estimate, Validity

REQUESTS = 3000
BASE = walk(REQUESTS)


def shaken(latencies, factor=1.0, seed=5):
    """The same ups and downs, 2 % of its own noise on each."""
    chance = random.Random(seed)
    return [factor * value * chance.uniform(0.98, 1.02) for value in latencies]


@pytest.fixture
def run(tmp_path):
    def make(name, latencies, **options):
        path = record(tmp_path / name, latencies, run_id=name, **options)
        return NamedRun(summarise(read(path)), path)

    return make


@pytest.fixture
def base(run):
    return run("base", BASE)


def change(comparison, name):
    (found,) = [change for change in comparison.changes if change.name == name]
    return found


class TestPaired:
    """The same seed and schedule: request beside request."""

    def test_a_run_is_equivalent_to_itself(self, base):
        found = compare(base, base)

        assert (found.verdict, found.method, found.pairs) == ("equivalent", "paired", REQUESTS)
        assert {change.difference.value for change in found.changes} == {0.0}

    def test_noise_alone_is_equivalent(self, base, run):
        assert compare(base, run("b", shaken(BASE))).verdict == "equivalent"

    @pytest.mark.parametrize(("factor", "verdict"), [(1.1, "slower"), (0.9, "faster")])
    def test_a_tenth_is_found_and_sized(self, base, run, factor, verdict):
        found = compare(base, run("b", shaken(BASE, factor)))

        p95 = change(found, "p95_ms")
        assert (found.verdict, p95.verdict) == (verdict, verdict)
        assert p95.relative.low <= factor - 1 <= p95.relative.high
        assert p95.relative.value == pytest.approx(factor - 1, abs=0.01)
        assert p95.difference.value == pytest.approx(p95.b - p95.a)
        assert f"p95 latency {100 * p95.relative.value:+.3g} %" in found.because

    def test_a_difference_that_is_sure_but_within_the_margin_does_not_matter(self, base, run):
        found = compare(base, run("b", shaken(BASE, 1.02)))

        mean = change(found, "mean_ms")
        assert mean.relative.low > 0
        assert (mean.verdict, found.verdict) == ("equivalent", "equivalent")
        assert compare(base, run("c", shaken(BASE, 1.02)), margin=0.01).verdict == "slower"

    def test_pairing_sees_what_two_schedules_would_hide(self, base, run):
        slower = shaken(BASE, 1.02)
        paired = change(compare(base, run("b", slower)), "mean_ms")
        unpaired = change(compare(base, run("c", slower, seed=2)), "mean_ms")

        assert (paired.method, unpaired.method) == ("paired", "unpaired")
        assert paired.detectable < 0.3 * unpaired.detectable

    def test_requests_that_only_one_run_answered_are_left_out_and_said(self, base, run):
        found = compare(base, run("b", BASE, failures=dict.fromkeys(range(0, REQUESTS, 5), 8)))

        assert found.pairs == REQUESTS * 4 // 5
        assert found.warnings == [
            "only 2,400 of 3,000 requests were answered well by both runs, and only they are paired"
        ]

    def test_rows_of_a_run_broken_off_are_paired_as_far_as_they_go(self, base, run):
        found = compare(base, run("b", BASE[:1000], broken_off_of=REQUESTS))

        assert (found.method, found.pairs) == ("paired", 1000)


class TestUnpaired:
    def test_another_seed(self, base, run):
        found = compare(base, run("b", walk(REQUESTS, 150, seed=2), seed=2))

        assert (found.method, found.pairs, found.verdict) == ("unpaired", None, "slower")

    def test_closed_loops_have_no_common_schedule(self, run):
        found = compare(run("a", BASE, closed=True), run("b", shaken(BASE), closed=True))

        assert (found.method, change(found, "rate_per_s").decides) == ("unpaired", True)

    def test_other_requests_are_said(self, base, run):
        found = compare(base, run("b", BASE, payload=STREAMED, first_token_ms=20.0))

        assert (found.method, found.warnings) == ("unpaired", ["the two runs sent different requests"])


class TestReportsAlone:
    """The records are gone, or never were."""

    @pytest.mark.parametrize(("factor", "verdict"), [(1.3, "slower"), (0.7, "faster"), (1.0, "equivalent")])
    def test_intervals_of_the_reports_are_put_together(self, run, base, factor, verdict):
        other = run("b", [factor * value for value in BASE])
        found = compare(NamedRun(base.report), NamedRun(other.report))

        assert (found.verdict, found.method, found.pairs) == (verdict, "intervals", None)
        assert change(found, "mean_ms").relative.value == pytest.approx(factor - 1)

    def test_one_without_records_is_enough_for_that(self, base):
        assert compare(base, NamedRun(base.report)).method == "intervals"

    def test_a_value_without_an_interval_decides_nothing(self, base):
        doubtful = msgspec.structs.replace(
            base.report.latency_ms, mean=Estimate(100.0, reason="3 independent samples")
        )
        found = compare(
            NamedRun(base.report), NamedRun(msgspec.structs.replace(base.report, latency_ms=doubtful))
        )

        assert found.verdict == "inconclusive"
        assert found.because == "mean latency not known (3 independent samples)"

    def test_wide_intervals_are_inconclusive_and_say_what_could_have_been_seen(self):
        found = compare(NamedRun(sample(run_id="a")), NamedRun(sample(run_id="b")), margin=0.001)

        p95 = change(found, "p95_ms")
        assert (found.verdict, p95.verdict) == ("inconclusive", "inconclusive")
        assert p95.detectable > p95.difference.high > 0
        assert "p95 latency between -" in found.because


class TestErrors:
    def test_more_errors_are_worse_though_what_was_answered_was_as_fast(self, base, run):
        found = compare(base, run("b", BASE, failures=dict.fromkeys(range(0, REQUESTS, 50), 8)))

        errors = change(found, "error_percent")
        assert (found.verdict, errors.verdict, errors.b) == ("slower", "slower", pytest.approx(2.0))
        assert found.because == "errors +2 points"
        assert change(found, "p95_ms").verdict == "equivalent"

    def test_one_failure_in_thousands_is_no_regression(self, base, run):
        assert compare(base, run("b", BASE, failures={17: 5})).verdict == "equivalent"


class TestStreams:
    def stream(self, run, name, first_token_ms):
        return run(name, BASE, payload=STREAMED, first_token_ms=first_token_ms)

    def test_first_tokens_and_gaps_are_compared(self, run):
        found = compare(self.stream(run, "a", 20.0), self.stream(run, "b", 30.0))

        ttft = change(found, "ttft_p95_ms")
        assert (ttft.a, ttft.b, ttft.verdict) == (pytest.approx(20.0), pytest.approx(30.0), "slower")
        assert change(found, "itl_mean_ms").verdict == "equivalent"
        assert (found.verdict, found.because) == (
            "slower",
            "p50 time to first token +50 %, p95 time to first token +50 %",
        )

    def test_without_streams_they_are_not_there(self, base):
        names = [change.name for change in compare(base, base).changes]

        assert names == ["mean_ms", "p50_ms", "p95_ms", "p99_ms", "rate_per_s", "error_percent"]


class TestDoubts:
    def test_an_invalid_run_is_refused(self, base, run):
        with pytest.raises(ConfigError) as refused:
            compare(base, run("b", BASE, lag_ms=40.0))

        assert refused.value.message.startswith("run B (b) is INVALID: ")
        assert refused.value.message.endswith("; measure it again, or --force to compare it anyway")

    def test_forced_it_is_compared_with_a_warning(self, base, run):
        found = compare(base, run("b", BASE, lag_ms=40.0), force=True)

        assert (found.b.validity, found.warnings[0][:19]) == ("INVALID", "run B is INVALID (r")

    def test_another_machine_is_said_loudly(self, base, run):
        other = msgspec.structs.replace(HOST, fingerprint="ba9876543210", hostname="laptop", cores=4)
        found = compare(base, run("b", BASE, host=other))

        assert found.warnings[0] == (
            "measured on different machines, bench-01 (AMD EPYC 9354, 32 cores, Linux 6.8, Python 3.11.9) and laptop "
            "(AMD EPYC 9354, 4 cores, Linux 6.8, Python 3.11.9): a difference may be theirs and not the server's"
        )
        assert (found.a.fingerprint, found.b.fingerprint) == ("0123456789ab", "ba9876543210")

    def test_what_else_makes_a_run_doubtful(self):
        few = Validity("INCONCLUSIVE", [Check("effective_samples", "INCONCLUSIVE", "12 samples")])
        broken = sample(validity=few, ended="broken_off", ended_because="the generator was killed")
        found = compare(NamedRun(sample()), NamedRun(broken))

        assert found.warnings == [
            "run B has too few samples for what was asked of it",
            "run B did not run to its end: the generator was killed",
        ]

    @pytest.mark.parametrize("margin", [-0.1, 1.0, float("nan")])
    def test_a_margin_that_is_none(self, base, margin):
        with pytest.raises(ConfigError, match="expected a share from 0 to below 1"):
            compare(base, base, margin=margin)


def test_a_run_is_compared_with_the_earlier_one_of_the_name(base, run, tmp_path):
    store = Store(tmp_path / "runs")
    later = run("later", shaken(BASE, 1.1))
    for made in (base, later):
        store.save(made.report, made.records)

    found = compare_with_baseline(later.report, later.records, "run", store=store)

    assert (found.a.run_id, found.b.run_id, found.method, found.verdict) == (
        "base",
        "later",
        "paired",
        "slower",
    )


def test_the_document_is_versioned_json(base):
    found = compare(base, base)
    document = msgspec.json.encode(found)

    assert msgspec.json.decode(document, type=Comparison) == found
    assert msgspec.json.decode(document)["schema"] == "paceline.comparison/1"


def test_a_run_that_kept_no_rows_is_compared_by_its_report(base, tmp_path):
    path = tmp_path / "counts"
    fd = create(path, msgspec.structs.replace(base.run.header, run_id="counts"))
    os.close(fd)
    counted = NamedRun(base.report, path)

    assert compare(base, counted).method == "intervals"

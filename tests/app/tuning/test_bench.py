"""The load generator as the tuner's bench, on a real server."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from running import running

from paceline.app.tuning.admin import Admin
from paceline.app.tuning.bench import LoadBench, cut
from paceline.base.errors import ConfigError, TrialFailed
from paceline.measure.plan import ClosedLoop, Stage
from paceline.measure.session import prepare

SIZE = "embed.batch.max_size"


class TestARun:
    def test_tells_of_every_request_and_of_the_batches(self, admin, tuned_server, plan_for):
        bench = LoadBench(plan_for(tuned_server.url), admin)
        run = bench.run({})
        seen = run.observation

        assert bench.requests == len(seen.latency_ms) == seen.sent > 60
        assert (seen.failed, np.isfinite(seen.latency_ms).all()) == (0, True)
        assert run.batches.rows.sum() == bench.requests
        assert seen.metrics["hit_percent"] == 0.0
        assert 0.5 < bench.duration_s < 1.5

    def test_shares_no_cached_answer_with_another(self, admin, tuned_server, plan_for):
        """The same texts, each time behind another word."""
        bench = LoadBench(plan_for(tuned_server.url), admin)
        runs = [bench.run({}) for _ in range(2)]

        assert [run.observation.metrics["hit_percent"] for run in runs] == [0.0, 0.0]
        assert [int(run.batches.rows.sum()) for run in runs] == [bench.requests] * 2

    def test_shares_none_with_the_tune_before_either(self, admin, tuned_server, plan_for):
        """The same load again, as of a user who tries the command twice."""
        plan = plan_for(tuned_server.url)
        seen = [LoadBench(plan, admin).run({}).observation.metrics["hit_percent"] for _ in range(2)]

        assert seen == [0.0, 0.0]

    def test_has_the_hits_that_its_own_repetitions_earn(self, admin, tuned_server, plan_for):
        """Ten texts, asked for again and again: each is run once, in the first run as in the second."""
        bench = LoadBench(plan_for(tuned_server.url, distinct=10), admin)
        runs = [bench.run({}) for _ in range(2)]

        assert all(run.observation.metrics["hit_percent"] > 60 for run in runs)
        assert all(run.batches.rows.sum() <= 10 for run in runs)
        assert len(set(bench.trace().key.tolist())) <= 10

    def test_is_at_the_setting_and_the_next_one_at_its_own(self, admin, tuned_server, plan_for, value_of):
        bench = LoadBench(plan_for(tuned_server.url, rate=400.0), admin)
        alone = bench.run({SIZE: 1})
        on_trial = value_of(SIZE)
        back = bench.run({})

        assert (on_trial, value_of(SIZE)) == (1, 32)
        assert alone.batches.rows.max() == 1 < back.batches.rows.max()

    def test_may_be_of_a_part_and_faster(self, admin, tuned_server, plan_for):
        bench = LoadBench(plan_for(tuned_server.url), admin)
        part = bench.run({}, speed=2.0, part=(10, 50)).observation

        assert len(part.latency_ms) == part.sent == 40
        assert part.duration_s < 0.5 * bench.duration_s

    def test_that_is_interrupted_says_so(self, admin, tuned_server, plan_for):
        bench = LoadBench(plan_for(tuned_server.url), admin, interrupted=lambda: True)
        with pytest.raises(KeyboardInterrupt):
            bench.run({SIZE: 4})
        with pytest.raises(KeyboardInterrupt):
            bench.probe(1, 8)

    def test_of_a_server_that_died_has_failed(self, state_dir, plan_for):
        """Whatever it is asked for then."""
        with running("admin.token=adm", state_dir=state_dir) as server:
            admin = Admin(server.url, "adm")
            bench = LoadBench(plan_for(server.url), admin)
            server.process.kill()
            server.process.wait()
            for ask in (
                lambda: bench.run({}),
                lambda: bench.run({SIZE: 4}),
                lambda: bench.probe(1, 8),
                bench.take_batches,
            ):
                with pytest.raises(TrialFailed):
                    ask()
            admin.close()


class TestTheTrace:
    def test_has_the_lengths_that_the_server_counted(self, admin, tuned_server, plan_for):
        bench = LoadBench(plan_for(tuned_server.url), admin)
        bench.run({})
        trace = bench.trace()

        assert trace.requests == bench.requests
        assert 3 < trace.length.min() < trace.length.max() < 60
        assert len(set(trace.key.tolist())) == trace.requests
        assert trace.duration_s == pytest.approx(bench.duration_s, rel=0.1)

    def test_of_users_who_wait_for_their_answers_is_none(self, admin, tuned_server, plan_for):
        plan = plan_for(tuned_server.url)
        closed = type(plan)(plan.target, ClosedLoop((Stage(1.0, 4.0),)), plan.payload)
        with pytest.raises(ConfigError, match="closed loop has no trace"):
            LoadBench(closed, admin)


class TestAProbe:
    @pytest.mark.parametrize(("rows", "length"), [(1, 8), (8, 24)])
    def test_is_of_texts_that_nobody_asked_for_before(self, admin, tuned_server, plan_for, rows, length):
        bench = LoadBench(plan_for(tuned_server.url), admin)
        bench.take_batches()
        for _ in range(2):
            bench.probe(rows, length)
        log = bench.take_batches()

        assert log.rows.sum() == 2 * rows
        assert (log.length >= length).all()
        assert (log.length <= length + 34).all()

    def test_that_the_gate_refuses_is_no_failure(self, admin, tuned_server, plan_for):
        """It tells nothing, and says nothing of the server either."""
        bench = LoadBench(plan_for(tuned_server.url), admin)
        admin.try_out({"embed.gate.max_queue": 1})
        bench.take_batches()
        bench.probe(16, 8)

        assert len(bench.take_batches()) == 0


class TestACutSchedule:
    def test_begins_at_zero_with_the_gaps_of_the_trace(self, tuned_server, plan_for):
        whole = prepare(plan_for(tuned_server.url)).schedule
        part = cut(whole, 1.0, (20, 60))

        assert part.at_ns == array("q", (at - whole.at_ns[20] for at in whole.at_ns[20:60]))
        assert part.request == whole.request[20:60]
        assert part.duration_ns > part.at_ns[-1]

    def test_is_shorter_the_faster_it_is(self, tuned_server, plan_for):
        whole = prepare(plan_for(tuned_server.url)).schedule
        fast = cut(whole, 2.0, None)

        assert len(fast.at_ns) == len(whole.at_ns)
        assert fast.duration_ns == pytest.approx(whole.duration_ns / 2, rel=0.1)
        assert fast.levels[0] == pytest.approx(2 * whole.levels[0], rel=0.2)

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_queues import CPU, GPU, Stubborn, lengths_of, queue_of
from paceline.flow.batch_queue import BatchPolicy, BatchQueue
from paceline.flow.job import HIGH, LOW, NORMAL, Job
from paceline.flow.run_time import RunTime


class TestFormingABatch:
    def test_a_lone_job_starts_at_once(self):
        batch = queue_of([5]).take(0.0)

        assert (lengths_of(batch), batch.length, batch.cost, batch.wait_s) == ([5], 8, 8, 0.0)

    def test_nothing_waits_nothing_starts(self):
        assert queue_of().take(0.0) is None

    def test_a_batch_ends_at_the_cost_bound(self):
        queue = queue_of([128] * 10)

        assert lengths_of(queue.take(0.0)) == [128] * 4

    def test_a_batch_ends_at_the_row_bound(self):
        queue = queue_of([8] * 40, max_size=16)

        assert queue.take(0.0).rows == 16

    def test_a_first_job_larger_than_the_bound_runs_alone(self):
        queue = queue_of([1000, 1000, 8])

        assert lengths_of(queue.take(0.0)) == [1000]

    def test_the_nearest_lengths_fill_it(self):
        queue = queue_of([64, 8, 72, 128, 56, 64], max_cost=72 * 3, max_size=4, prior=GPU)

        assert sorted(lengths_of(queue.take(0.0))) == [56, 64, 64]  # a fourth row would pass 216

    def test_a_longer_one_joins_only_if_all_rows_fit_at_its_length(self):
        queue = queue_of([64, 64, 72], max_cost=64 * 3, prior=GPU)

        assert lengths_of(queue.take(0.0)) == [64, 64]

    def test_padding_that_costs_more_than_a_run_of_its_own_is_not_made(self):
        linear, fixed = queue_of([128, 8]), queue_of([128, 8], prior=GPU)

        assert lengths_of(linear.take(0.0)) == [128]
        assert lengths_of(fixed.take(0.0)) == [128, 8]

    def test_within_a_length_the_most_urgent_go_first(self):
        queue = queue_of(max_size=2)
        late, soon, low = Job("late", 8, NORMAL, 9.0), Job("soon", 8, NORMAL, 5.0), Job("low", 8, LOW)
        for job in (low, late, soon):
            queue.put(job, 0.0)

        assert queue.take(0.0).jobs == [soon, late]

    def test_the_leader_is_first_and_sets_the_neighbourhood(self):
        queue = queue_of([8] * 50)
        urgent = Job(None, 128, HIGH)
        queue.put(urgent, 1.0)

        assert queue.take(1.0).jobs == [urgent]

    def test_idle_lanes_share_what_waits_when_rows_cost_time(self):
        queue = queue_of([64] * 8, lanes=2)

        assert [queue.take(0.0).rows, queue.take(0.0).rows] == [4, 4]

    def test_idle_lanes_leave_it_whole_when_rows_are_free(self):
        queue = queue_of([64] * 8, lanes=2, prior=GPU, max_cost=4096)

        assert queue.take(0.0).rows == 8

    def test_no_more_batches_run_than_there_are_lanes(self):
        queue = queue_of([128] * 20, lanes=2)
        first, second = queue.take(0.0), queue.take(0.0)

        assert queue.take(0.0) is None
        queue.finished(first, 1.0, 1.0)
        assert queue.take(1.0) is not None
        queue.finished(second, 1.0, 1.0)
        assert queue.running == 1

    @given(
        st.lists(st.integers(0, 700), min_size=1, max_size=80),
        st.integers(1, 64),
        st.integers(1, 2048),
        st.sampled_from([CPU, GPU]),
    )
    def test_every_job_runs_once_and_every_batch_keeps_the_bounds(self, lengths, max_size, max_cost, prior):
        queue = queue_of(lengths, prior=prior, max_size=max_size, max_cost=max_cost)
        ran = []
        while (batch := queue.take(0.0)) is not None:
            assert batch.rows == 1 or (batch.rows <= max_size and batch.cost <= max_cost)
            assert batch.length == max(job.padded for job in batch.jobs)
            ran += lengths_of(batch)
            queue.finished(batch, 0.0, 1e-3)

        assert sorted(ran) == sorted(lengths)
        assert (queue.depth, queue.tokens) == (0, 0)

    def test_a_long_queue_does_not_make_a_longer_batch(self):
        rng = random.Random(1)
        for depth in (64, 256, 10_000):
            queue = queue_of([rng.randint(8, 128) for _ in range(depth)])

            assert queue.take(0.0).cost <= 512


def test_every_job_leads_at_last_under_overload():
    """Two arrive for each that can run, all more urgent by class than the one that waits."""
    queue = queue_of(max_size=1, ageing_s=1.0)
    victim = Job("victim", 128, LOW)
    queue.put(victim, 0.0)
    for step in range(1, 200):
        now = step * 0.1
        queue.put(Job(None, 8, HIGH, now + 5), now)
        queue.put(Job(None, 8, NORMAL, now + 5), now)
        batch = queue.take(now)
        queue.finished(batch, now, 0.09)
        if batch.jobs[0] is victim:
            break
    else:
        pytest.fail("starved")

    assert victim.queue_s < 6.0


@given(st.lists(st.tuples(st.floats(0.0, 0.02), st.integers(1, 128)), min_size=1, max_size=80))
def test_ageing_changes_nothing_among_jobs_of_one_class(arrivals):
    """Everyone rises alike, so batches are the same whether jobs are lifted every millisecond or never."""
    formed = []
    for ageing_s in (1e-3, 3600.0):
        queue, now, batches = queue_of(ageing_s=ageing_s, prior=(8e-3, 0.0, 5e-5, 0.0)), 0.0, []
        for gap_s, length in arrivals:
            now += gap_s
            queue.put(Job(None, length), now)
        while queue.depth:
            now += 0.005
            batch = queue.take(now)
            if batch is not None:
                batches.append(lengths_of(batch))
                queue.finished(batch, now, 0.01)
        formed.append(batches)

    assert formed[0] == formed[1]


def test_who_has_aged_still_counts_once():
    """One short row may be padded to the leader's length for less than a run of its own costs; two might not."""
    for now in (0.0, 10.0):
        queue = queue_of([128, 8], prior=(8e-3, 0.0, 5e-5, 0.0), ageing_s=1.0)

        assert lengths_of(queue.take(now)) == [128, 8]


class TestWhoLeaves:
    def test_a_departed_job_is_never_run(self):
        queue = queue_of([8])
        gone = Job(None, 8)
        queue.put(gone, 0.0)
        queue.depart(gone)
        queue.depart(gone)

        assert queue.take(0.0).rows == 1
        assert (queue.departed_total, queue.depth, gone.departed) == (1, 0, True)

    def test_who_leaves_during_the_run_is_counted_and_runs_out(self):
        queue = queue_of([8])
        batch = queue.take(0.0)
        queue.depart(batch.jobs[0])
        queue.finished(batch, 1.0, 1.0)

        assert (queue.departed_total, queue.running, queue.depth) == (1, 0, 0)

    def test_an_expired_job_is_handed_back_and_not_run(self):
        queue = queue_of()
        late, fine = Job(None, 8, deadline_at=1.0), Job(None, 8, deadline_at=9.0)
        queue.put(late, 0.0)
        queue.put(fine, 0.0)

        assert queue.take(1.0).jobs == [fine]
        assert (queue.expired, queue.expired_total) == ([late], 1)

    def test_it_asks_to_be_woken_at_the_next_deadline_while_the_lanes_are_busy(self):
        queue = queue_of([8])
        queue.take(0.0)
        queue.put(Job(None, 8, deadline_at=3.0), 0.5)

        assert queue.take(0.5) is None
        assert queue.wake_at() == 3.0

    def test_300_that_leave_cost_the_next_one_nothing(self):
        queue = queue_of()
        jobs = [Job(None, 128) for _ in range(300)]
        for job in jobs:
            queue.put(job, 0.0)
        running = queue.take(0.0)
        for job in jobs:
            queue.depart(job)
        honest = Job(None, 16)
        queue.put(honest, 0.02)
        queue.finished(running, 0.04, 0.04)

        assert queue.take(0.04).jobs == [honest]
        assert queue.departed_total == 300

    def test_clear_hands_out_all_that_wait(self):
        queue = queue_of([8, 16, 32])

        assert sorted(job.length for job in queue.clear()) == [8, 16, 32]
        assert queue.take(0.0) is None


class TestForecast:
    def test_an_idle_engine_means_no_wait(self):
        assert queue_of().forecast_s(NORMAL, 0.0) == 0.0

    def test_it_is_the_work_ahead_over_the_lanes(self):
        queue = queue_of([128] * 8, lanes=2)
        work_s = 8 * queue.run_time.row_s(4, 128)

        assert queue.forecast_s(NORMAL, 0.0) == pytest.approx(work_s / 2)

    def test_running_batches_count_for_what_is_left_of_them(self):
        queue = queue_of([128] * 4)
        batch = queue.take(0.0)

        assert queue.forecast_s(NORMAL, batch.forecast_s / 4) == pytest.approx(batch.forecast_s * 3 / 4)
        assert queue.forecast_s(NORMAL, 100.0) == 0.0

    def test_lower_classes_are_not_ahead(self):
        queue = queue_of()
        queue.put(Job(None, 64, LOW), 0.0)

        assert queue.forecast_s(HIGH, 0.0) == queue.forecast_s(NORMAL, 0.0) == 0.0
        assert queue.forecast_s(LOW, 0.0) > 0.0

    @pytest.mark.parametrize(("slower", "low", "high"), [(2.0, 1.6, 3.0), (0.5, 0.25, 0.8)])
    def test_it_learns_from_its_own_error(self, slower, low, high):
        queue = queue_of([128] * 40)
        queue.run_time = Stubborn(CPU)  # wrong by this factor, and stays so
        now = 0.0
        for _ in range(3000):
            batch = queue.take(now)
            now += batch.forecast_s * slower
            queue.finished(batch, now, batch.forecast_s * slower)
            for _ in batch.jobs:
                queue.put(Job(None, 128), now)

        assert low < queue.forecast_correction < high


def test_stats_count_what_happened():
    queue = queue_of([60, 64])
    queue.finished(queue.take(0.0), 0.01, 0.01)
    stats = queue.stats()

    assert {
        name: stats[name] for name in ("jobs_total", "batches_total", "rows_total", "depth", "running")
    } == {
        "jobs_total": 2,
        "batches_total": 1,
        "rows_total": 2,
        "depth": 0,
        "running": 0,
    }
    assert (stats["real_tokens_total"], stats["padded_tokens_total"]) == (124, 128)


def test_a_failed_run_frees_the_lane_and_teaches_nothing():
    queue = queue_of([8])
    queue.finished(queue.take(0.0), 5.0)

    assert (queue.running, queue.run_time.batches_total) == (0, 0)


@pytest.mark.parametrize("bad", [{"max_cost": 0}, {"bucket": 0}])
def test_an_unresolved_policy_is_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        BatchQueue(BatchPolicy(**{"max_cost": 512, "bucket": 8, **bad}), RunTime())

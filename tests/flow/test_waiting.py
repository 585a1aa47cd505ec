from math import inf

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from paceline.flow.job import GONE, HIGH, LOW, NORMAL, Job
from paceline.flow.waiting import Waiting

AGEING_S = 2.0


def waiting_job(waiting, now, length=8, priority=NORMAL, deadline_at=inf):
    job = Job(None, length, priority, deadline_at)
    job.padded, job.cost_s, job.enqueued_at = length, length * 1e-4, now
    waiting.add(job, now)
    return job


def take_leader(waiting):
    leader = waiting.leader()
    waiting.remove(leader)
    return leader


def test_the_class_comes_before_the_deadline_and_the_deadline_before_age():
    waiting = Waiting()
    oldest = waiting_job(waiting, 0.0)
    urgent = waiting_job(waiting, 0.1, length=64, deadline_at=5.0)
    low = waiting_job(waiting, 0.2, priority=LOW, deadline_at=0.5)
    high = waiting_job(waiting, 0.3, length=32, priority=HIGH)

    assert [take_leader(waiting) for _ in range(4)] == [high, urgent, oldest, low]


def test_waiting_lifts_a_job_by_one_class_each_time():
    waiting = Waiting()
    low = waiting_job(waiting, 0.0, priority=LOW)
    waiting.lift(2 * AGEING_S, AGEING_S)
    high = waiting_job(waiting, 2 * AGEING_S, priority=HIGH, length=16)

    assert take_leader(waiting) is low  # same class now, and older
    assert take_leader(waiting) is high


@given(st.integers(1, 4), st.sampled_from([HIGH, NORMAL, LOW]), st.booleans())
def test_no_stream_of_urgent_newcomers_keeps_a_job_waiting_for_ever(per_s, priority, hurried):
    """One job leaves and `per_s` >= 1 more urgent ones come at each step: the queue only grows."""
    waiting = Waiting()
    victim = waiting_job(waiting, 0.0, length=128, priority=priority)
    now, leader = 0.0, None
    while leader is not victim:
        now += 1.0
        assert now < 40 * AGEING_S, "starved"
        waiting.lift(now, AGEING_S)
        for _ in range(per_s):
            waiting_job(waiting, now, priority=HIGH, deadline_at=now + 1.0 if hurried else inf)
        leader = take_leader(waiting)


class Twin(RuleBasedStateMachine):
    """The heaps against their plain twin: a list that is sorted each time."""

    def __init__(self):
        super().__init__()
        self.waiting, self.plain, self.now = Waiting(), [], 0.0

    def urgency(self, job):
        lifted = job.priority - int((self.now - job.enqueued_at) / AGEING_S + 1e-9)
        return (lifted, job.deadline_at, self.plain.index(job))

    @rule(
        length=st.sampled_from([8, 16, 24, 64]),
        priority=st.integers(0, 2),
        patience=st.sampled_from([0.5, 3.0, 50.0, inf]),
    )
    def put(self, length, priority, patience):
        self.waiting.lift(self.now, AGEING_S)
        self.plain.append(waiting_job(self.waiting, self.now, length, priority, self.now + patience))

    @rule(step=st.sampled_from([0.25, 1.0, 2.0, 5.0]))
    def pass_time(self, step):
        self.now += step
        gone = {job for job in self.plain if job.deadline_at <= self.now}

        assert set(self.waiting.expire(self.now)) == gone
        self.plain = [job for job in self.plain if job not in gone]

    @precondition(lambda self: self.plain)
    @rule(rows=st.integers(1, 5))
    def draw_from_the_leader_s_length(self, rows):
        self.waiting.lift(self.now, AGEING_S)
        leader = min(self.plain, key=self.urgency)
        peers = sorted((job for job in self.plain if job.padded == leader.padded), key=self.urgency)

        assert self.waiting.leader() is leader
        jobs = []
        self.waiting.draw(leader.padded, jobs, rows)
        self.waiting.tidy(leader.padded)
        assert jobs == peers[:rows]
        self.plain = [job for job in self.plain if job not in jobs]

    @precondition(lambda self: self.plain)
    @rule(which=st.integers(0, 1000))
    def leave(self, which):
        self.waiting.remove(self.plain.pop(which % len(self.plain)))

    @rule()
    def clear(self):
        assert set(self.waiting.clear()) == set(self.plain)
        self.plain = []

    @invariant()
    def sums_agree(self):
        assert self.waiting.depth == len(self.plain)
        assert self.waiting.tokens == sum(job.length for job in self.plain)
        assert self.waiting.lengths == sorted({job.padded for job in self.plain})
        for length in self.waiting.lengths:
            assert self.waiting.count(length) == sum(job.padded == length for job in self.plain)
        assert self.waiting.earliest_deadline() == min((job.deadline_at for job in self.plain), default=inf)
        assert abs(sum(self.waiting.work_s) - sum(job.cost_s for job in self.plain)) < 1e-9


TestTwin = Twin.TestCase


def test_jobs_that_left_are_forgotten_though_their_deadline_is_far():
    waiting = Waiting()
    for i in range(10_000):
        waiting.remove(waiting_job(waiting, i * 1e-3, deadline_at=1e6))

    assert waiting.depth == 0
    assert len(waiting._deadlines) + len(waiting._lifts) + waiting._entries < 300


def test_a_job_that_left_is_marked():
    waiting = Waiting()
    job = waiting_job(waiting, 0.0)
    waiting.remove(job)

    assert job.level == GONE


def test_a_shorter_ageing_is_not_held_up_by_those_who_wait_with_a_longer_one():
    waiting = Waiting()
    waiting_job(waiting, 0.0, priority=HIGH)
    waiting.lift(1.0, 3600.0)
    low = waiting_job(waiting, 1.0, priority=LOW)
    waiting.lift(1.0 + 2 * AGEING_S, AGEING_S)

    assert low.level == LOW - 2

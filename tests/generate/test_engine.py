"""The engine over a runner whose keys and values are the tokens: any block out of place changes the text."""

from __future__ import annotations

import threading
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_runner import TokenRunner, next_token, spell

from paceline.base.errors import DeadlineExceeded, EngineError
from paceline.base.generation import Sampling
from paceline.generate.engine import Engine
from paceline.generate.runner import BLOCK_TOKENS
from paceline.generate.sampler import Row, Sampler
from paceline.generate.scheduler import SchedulePolicy
from paceline.generate.sequence import Delta, Sequence


class Bench:
    """An engine driven by hand, on a clock that is set."""

    def __init__(self, runner: TokenRunner | None = None, **policy) -> None:
        self.runner = runner or TokenRunner()
        self.now = 0.0
        self.out: list[tuple[Sequence, Delta]] = []
        self.engine = Engine(
            self.runner,
            Sampler(self.runner.config.vocab_size),
            SchedulePolicy(**policy),
            self.out.extend,
            clock=lambda: self.now,
        )

    def sequence(self, prompt, count=8, **options) -> Sequence:
        prompt = np.array(prompt, dtype=np.int32)
        row = Row(
            sampling=options.pop("sampling", Sampling(temperature=0.0)),
            seed=1,
            prompt=prompt,
            logprobs=options.pop("logprobs", None),
        )
        return Sequence(prompt, row, None, max_tokens=count, **options)

    def submit(self, *args, **options) -> Sequence:
        sequence = self.sequence(*args, **options)
        self.engine.submit(sequence)
        return sequence

    def run(self, steps: int = 10_000) -> None:
        for _ in range(steps):
            if not self.engine.step():
                return
            self.engine.pool.check()

    def text(self, sequence: Sequence) -> list[int]:
        return [token for one, delta in self.out if one is sequence for token in delta.tokens]

    def last(self, sequence: Sequence) -> Delta:
        return next(delta for one, delta in reversed(self.out) if one is sequence)


def prompt(length: int, start: int = 0) -> list[int]:
    return [(start + 7 * place) % 97 for place in range(length)]


def test_a_sequence_gets_the_tokens_that_follow_its_prompt():
    bench = Bench()
    one = bench.submit(prompt(20), 9)
    bench.run()

    assert bench.text(one) == spell(prompt(20), 9)
    assert (bench.last(one).finish, one.status) == ("length", "ended")
    assert bench.engine.pool.held == 0


def test_a_stop_token_ends_it_and_is_not_told():
    bench = Bench()
    whole = spell(prompt(20), 9)
    one = bench.submit(prompt(20), 9, stop_ids=frozenset({whole[4]}))
    bench.run()

    assert bench.text(one) == whole[: whole.index(whole[4])]
    assert bench.last(one).finish == "stop"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 90), st.integers(0, 2), st.integers(1, 30), st.integers(0, 12)),
        min_size=1,
        max_size=9,
    ),
    st.sampled_from([16, 24, 64, 512]),
    st.integers(8, 40),
    st.sampled_from([0, 3]),
)
def test_the_text_depends_on_nothing_but_the_prompt(asks, budget, blocks, guesses):
    """Chunks, company, shared prefixes, preemption and guesses change when tokens come, never which."""
    runner = TokenRunner(blocks=blocks, context=128)
    bench = Bench(runner, max_batch_tokens=budget, max_sequences=4, speculative_tokens=guesses)
    waiting = sorted(asks, key=lambda ask: ask[3])
    all_of_them = []
    step = 0
    while waiting or bench.engine.scheduler.everyone() or bench.engine._inbox:
        while waiting and waiting[0][3] <= step:
            length, start, count, _ = waiting.pop(0)
            given_prompt = prompt(length, start)
            count = min(count, bench.engine.context_tokens - length)
            if count >= 1:
                all_of_them.append((given_prompt, count, bench.submit(given_prompt, count, priority=start)))
        bench.engine.step()
        bench.engine.pool.check()
        step += 1
        assert step < 5000

    for given_prompt, count, one in all_of_them:
        assert bench.text(one) == spell(given_prompt, count)
    assert bench.engine.pool.held == 0


def test_a_prompt_is_computed_in_chunks_of_the_budget():
    bench = Bench(max_batch_tokens=32)
    bench.submit(prompt(100), 1)
    bench.run()

    assert [len(batch.tokens) for batch in bench.runner.batches] == [32, 32, 32, 4]
    assert [len(batch.wanted) for batch in bench.runner.batches] == [0, 0, 0, 1]


def test_decoding_sequences_go_first_and_prompts_take_what_is_left():
    bench = Bench(max_batch_tokens=32, slowdown=0)
    bench.submit(prompt(10), 20)
    bench.run(2)
    bench.submit(prompt(60, 3), 1)
    bench.run(1)

    batch = bench.runner.batches[-1]
    assert np.diff(batch.starts).tolist() == [1, 31]


def test_a_long_prompt_leaves_half_of_each_step_to_those_behind_it():
    bench = Bench(max_batch_tokens=64, slowdown=0)
    long = bench.submit(prompt(400), 1)
    short = bench.submit(prompt(30, 1), 1)
    bench.run(1)

    assert (long.computed, short.computed) == (32, 30)


def test_prompts_slow_down_decoding_only_as_far_as_allowed():
    """The step log says a prompt token costs a hundredth of a decoding step: 1.8 times allows 80 of them."""
    bench = Bench(max_batch_tokens=512, slowdown=1.8)
    steps = bench.engine.steps
    for number in range(64):
        tokens = 100 * (number % 2)
        steps.add(
            0, prompt_tokens=tokens, decoding=1, context_tokens=50, run_s=0.01, step_s=0.01 + tokens * 1e-4
        )
    bench.submit(prompt(10), 50)
    bench.run(2)
    bench.submit(prompt(400, 3), 1)
    bench.run(1)

    rows = np.diff(bench.runner.batches[-1].starts).tolist()
    assert rows[0] == 1
    assert 70 <= rows[1] <= 90


def test_a_prefix_that_was_computed_is_not_computed_again():
    bench = Bench()
    bench.submit(prompt(64), 2)
    bench.run()
    bench.runner.batches.clear()
    two = bench.submit([*prompt(64), 5, 6], 4)
    bench.run()

    assert len(bench.runner.batches[0].tokens) == 2
    assert two.cached == 64
    assert bench.text(two) == spell([*prompt(64), 5, 6], 4)


def test_sequences_share_a_prefix_that_the_same_step_computes():
    bench = Bench()
    both = [bench.submit([*prompt(64), last], 4) for last in (1, 2)]
    bench.run()

    assert np.diff(bench.runner.batches[0].starts).tolist() == [65, 1]
    assert [bench.text(one) for one in both] == [spell([*prompt(64), last], 4) for last in (1, 2)]


def test_the_last_token_of_a_known_prompt_is_computed_again_for_its_logits():
    bench = Bench()
    bench.submit(prompt(32), 1)
    bench.run()
    again = bench.submit(prompt(32), 3)
    bench.run()

    assert again.cached == 16
    assert bench.text(again) == spell(prompt(32), 3)


def test_when_blocks_run_out_the_last_comer_makes_room_and_goes_on_later():
    bench = Bench(TokenRunner(blocks=8), slowdown=0)
    first = bench.submit(prompt(40), 60)
    second = bench.submit(prompt(40, 1), 60)
    bench.run()

    assert bench.engine.scheduler.preemptions_total >= 1
    assert (first.preempted, second.preempted > 0) == (0, True)
    assert bench.text(first) == spell(prompt(40), 60)
    assert bench.text(second) == spell(prompt(40, 1), 60)


def test_a_low_class_is_preempted_before_a_high_one():
    bench = Bench(TokenRunner(blocks=8), slowdown=0)
    low = bench.submit(prompt(40), 60, priority=2)
    bench.run(2)
    high = bench.submit(prompt(40, 1), 60, priority=0)
    bench.run()

    assert (low.preempted > 0, high.preempted) == (True, 0)


def test_classes_wait_in_order_and_waiting_lifts_them():
    bench = Bench(max_sequences=1, ageing_s=2.0)
    running = bench.submit(prompt(10), 3)
    bench.run(1)
    old = bench.submit(prompt(10, 1), 1, priority=2, arrived_at=0.0)
    bench.now = 5.0
    fresh = bench.submit(prompt(10, 2), 1, priority=0, arrived_at=5.0)
    normal = bench.submit(prompt(10, 3), 1, priority=1, arrived_at=5.0)
    bench.run()

    ended = [one for one, delta in bench.out if delta.finish]
    assert ended == [running, old, fresh, normal]


def test_leaving_frees_the_blocks_before_the_next_step():
    bench = Bench()
    gone = bench.submit(prompt(40), 50)
    stays = bench.submit(prompt(10, 1), 50)
    bench.run(3)
    bench.engine.abort(gone)
    held = bench.engine.pool.held
    bench.run(1)

    assert bench.engine.pool.held <= held - 3
    assert gone.status == "ended"
    bench.engine.abort(gone)  # twice is harmless
    bench.run()
    assert bench.text(stays) == spell(prompt(10, 1), 50)


def test_one_that_waits_can_leave_too():
    bench = Bench(max_sequences=1)
    bench.submit(prompt(10), 3)
    bench.run(1)
    waits = bench.submit(prompt(10, 1), 3)
    bench.run(1)
    bench.engine.abort(waits)
    bench.run()

    assert bench.text(waits) == []
    assert bench.engine.scheduler.waiting_tokens == 0


def test_a_passed_deadline_ends_running_and_waiting_sequences():
    bench = Bench(max_sequences=1)
    runs = bench.submit(prompt(10), 50, deadline_at=1.0)
    waits = bench.submit(prompt(10, 1), 50, deadline_at=1.0)
    other = bench.submit(prompt(10, 2), 4, deadline_at=inf)
    bench.run(3)
    bench.now = 1.0
    bench.run()

    assert [type(bench.last(one).error) for one in (runs, waits)] == [DeadlineExceeded, DeadlineExceeded]
    assert bench.text(other) == spell(prompt(10, 2), 4)


def test_a_failed_step_fails_its_sequences_and_nobody_shares_what_it_was_to_compute():
    bench = Bench()
    bench.runner.fail_next = EngineError("no luck")
    failed = bench.submit(prompt(64), 3)
    bench.run()
    again = bench.submit(prompt(64), 3)
    bench.run()

    assert str(bench.last(failed).error) == "no luck"
    assert again.cached == 0
    assert bench.text(again) == spell(prompt(64), 3)


def test_logits_that_are_no_numbers_fail_one_sequence_and_its_prefix_is_forgotten():
    bench = Bench()
    bench.runner.nan_for = 96
    bad = bench.submit([*prompt(40, 1), 96], 3)
    good = bench.submit(prompt(40), 3)
    bench.run()

    assert isinstance(bench.last(bad).error, EngineError)
    assert bench.text(good) == spell(prompt(40), 3)
    assert bench.engine.pool.held == 0
    assert bench.submit([*prompt(40, 1), 5], 1) is not None
    bench.run()


def test_out_of_memory_halves_the_step_until_it_fits():
    bench = Bench(TokenRunner())
    bench.runner.most_rows = 50
    ones = [bench.submit(prompt(20, start), 3) for start in range(6)]
    bench.run()

    assert [bench.text(one) for one in ones] == [spell(prompt(20, start), 3) for start in range(6)]
    assert bench.engine.halved_steps_total >= 1


def test_guesses_bring_several_tokens_in_one_step():
    """A runner that looks at the last token only soon goes in circles."""
    bench = Bench(TokenRunner(sees=1), speculative_tokens=4)
    plain = Bench(TokenRunner(sees=1))
    one, two = bench.submit(prompt(6), 120), plain.submit(prompt(6), 120)
    bench.run()
    plain.run()

    assert bench.text(one) == plain.text(two)
    assert bench.engine.accepted_tokens_total > 60
    assert len(bench.runner.batches) < 60
    assert len(bench.text(one)) == 120


def test_log_probabilities_of_a_prompt_come_once_all_of_it_is_computed():
    bench = Bench(max_batch_tokens=16)
    one = bench.submit(prompt(40), 2, score_from=1, score_top=1)
    bench.run()

    told = [delta.prompt_logprobs for owner, delta in bench.out if owner is one and delta.prompt_logprobs]
    assert len(told) == 1
    assert [drawn.token for drawn in told[0]] == prompt(40)[1:]
    likeliest = [next_token(np.array(prompt(40)[:place]), 97) for place in range(1, 40)]
    assert [drawn.top[0][0] for drawn in told[0]] == likeliest


def test_scoring_an_end_shares_the_beginning():
    bench = Bench()
    ones = [bench.submit([*prompt(64), 1, last], 1, score_from=64, score_top=1) for last in (2, 3)]
    bench.run()

    assert np.diff(bench.runner.batches[0].starts).tolist()[1] <= BLOCK_TOKENS + 2
    for one, last in zip(ones, (2, 3), strict=True):
        assert [drawn.token for drawn in bench.last(one).prompt_logprobs] == [1, last]


def test_a_thread_of_its_own_runs_what_is_submitted_and_ends_what_is_left():
    runner = TokenRunner()
    done, out = threading.Event(), []

    def deliver(step):
        out.extend(step)
        if any(delta.finish for _, delta in step):
            done.set()

    engine = Engine(runner, Sampler(97), SchedulePolicy(), deliver)
    engine.start()
    row = Row(sampling=Sampling(temperature=0.0), seed=1, prompt=np.arange(5, dtype=np.int32))
    engine.submit(Sequence(np.arange(5, dtype=np.int32), row, None, max_tokens=4))
    assert done.wait(10)
    engine.close()

    assert [token for _, delta in out for token in delta.tokens] == spell(list(range(5)), 4)
    assert runner.closed


def test_a_scheduler_with_a_thousand_waiting_plans_as_fast_as_with_few():
    """Planning looks at the heads of the lines only: work per step does not grow with the queue."""
    bench = Bench(max_sequences=2)
    for number in range(1000):
        bench.submit(prompt(10, number), 4)
    bench.run(3)
    looked = []
    scheduler = bench.engine.scheduler
    real = scheduler._admit
    scheduler._admit = lambda sequence, now: (looked.append(sequence), real(sequence, now))[1]
    bench.run(3)

    assert len(looked) <= 3
    assert scheduler.waiting > 900


@pytest.mark.parametrize("extra", [0, 1])
def test_a_context_ends_where_the_blocks_or_the_model_end(extra):
    bench = Bench(TokenRunner(blocks=4, context=128 if extra else 48))

    assert bench.engine.context_tokens == (64 if extra else 48)

"""The engine: a thread that runs one step after another while there is anything to do.

A step, in order: take in what came -> plan -> run the model -> draw tokens -> carry out -> deliver. Everything behind
`submit` and `abort` belongs to the engine's thread; what came out is delivered there too, once a step.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from paceline.base.clock import Clock
from paceline.base.errors import DeadlineExceeded, EngineError, OutOfMemory, PacelineError
from paceline.base.generation import FinishReason
from paceline.generate.blocks import BlockPool
from paceline.generate.runner import BLOCK_TOKENS, Runner
from paceline.generate.sampler import Drawn, Sampler, score
from paceline.generate.scheduler import Plan, SchedulePolicy, Scheduler
from paceline.generate.sequence import Delta, Sequence
from paceline.generate.step_log import StepLog

log = logging.getLogger("paceline.generate")

Deliver = Callable[[list[tuple[Sequence, Delta]]], None]
"""Takes what one step brought; called in the engine's thread."""

IDLE_S: Final = 5.0
"""An idle engine looks for passed deadlines this often; work wakes it at once."""


class Engine:
    """Runs sequences through one runner. `submit`, `abort` and `close` may be called from any thread."""

    def __init__(  # noqa: PLR0913 - its parts, each given by the composition
        self,
        runner: Runner,
        sampler: Sampler,
        policy: SchedulePolicy,
        deliver: Deliver,
        *,
        reuse_prefixes: bool = True,
        clock: Clock = time.monotonic,
    ) -> None:
        """`deliver` must not block. Nothing runs before `start`; without it `step` runs one step."""
        self.runner = runner
        self.context_tokens = min(runner.config.max_positions, runner.blocks * BLOCK_TOKENS)
        """Tokens of prompt and output together that a sequence may have."""
        self.pool = BlockPool(runner.blocks, reuse=reuse_prefixes)
        self.scheduler = Scheduler(policy, self.pool, context_tokens=self.context_tokens)
        self.steps = StepLog()
        self._sampler = sampler
        self._deliver = deliver
        self._clock = clock
        self._inbox: deque[tuple[str, Any]] = deque()
        self._awake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._out: list[tuple[Sequence, Delta]] = []
        self.last_failure: EngineError | None = None
        """Of the last step, None when it went well."""
        self.prompt_tokens_total = self.cached_tokens_total = self.drawn_tokens_total = 0
        self.guessed_tokens_total = self.accepted_tokens_total = 0
        self.failed_steps_total = self.halved_steps_total = 0

    # -- from any thread --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="generate", daemon=True)
        self._thread.start()

    def submit(self, *sequences: Sequence) -> None:
        """Queue sequences; those submitted together start together when there is room."""
        self._inbox.extend(("add", one) for one in sequences)
        self._awake.set()

    def abort(self, sequence: Sequence) -> None:
        """Forget a sequence before the next step and free its blocks; nothing more is delivered of it."""
        self._inbox.append(("abort", sequence))
        self._awake.set()

    def between_steps(self, act: Callable[[], None]) -> None:
        """Have the engine's thread call `act` before its next step."""
        self._inbox.append(("call", act))
        self._awake.set()

    def close(self) -> None:
        """End the thread after the step under way; what is unfinished fails."""
        self._closing = True
        self._awake.set()
        if self._thread is not None:
            self._thread.join()
        self.runner.close()

    # -- the engine's thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            try:
                worked = self.step()
            except Exception:  # whatever it was: the thread must not die of it
                # Our own mistake, and the caller's stream must not hang for it: all fail, the engine goes on.
                log.exception("a step failed in a way nobody foresaw")
                self._fail_all(
                    EngineError("the engine failed in a way nobody foresaw; its log has the traceback")
                )
                worked = True
            if not worked and not self._inbox:
                self._awake.wait(IDLE_S)
                self._awake.clear()
        self._take_in()
        self._fail_all(EngineError("the server is stopping; send the request again"))

    def step(self) -> bool:
        """One step, if there is anything to do; whether there was."""
        started_at = self._clock()
        self._take_in()
        for late in self.scheduler.expired(started_at):
            self._end(
                late,
                "error",
                DeadlineExceeded("the deadline passed before the answer was ready; allow more time"),
            )
        plan = self.scheduler.plan(started_at, self.steps.time)
        if plan is not None:
            self._carry_out(plan, started_at)
        if self._out:
            out, self._out = self._out, []
            self._deliver(out)
        return plan is not None

    def _take_in(self) -> None:
        inbox = self._inbox
        while inbox:
            what, item = inbox.popleft()
            if what == "add":
                self.scheduler.add(item)
            elif what == "call":
                item()
            elif item.status != "ended":
                self.scheduler.remove(item)

    def _carry_out(self, plan: Plan, started_at: float) -> None:
        """Run a plan and hand on what it brought; for want of memory, in halves."""
        scheduler = self.scheduler
        batch = scheduler.batch(plan)
        run_at = self._clock()
        try:
            logits = self.runner.run(batch)
        except OutOfMemory as error:
            halves = plan.halves()
            if halves is None:
                self._failed(plan, error)
                return
            self.halved_steps_total += 1
            self._carry_out(halves[0], started_at)
            if self.last_failure is None:
                self._carry_out(halves[1], self._clock())
            else:
                scheduler.postpone(halves[1])  # it may share what the first half did not get done
            return
        except EngineError as error:
            self._failed(plan, error)
            return
        ran_at = self._clock()
        self.last_failure = None
        prompt_tokens = sum(rows for _, rows in plan.prompts)
        decoding, context = len(plan.decoding), int(batch.contexts.sum())
        self._take_results(plan, logits, ran_at - run_at, ran_at)
        self.prompt_tokens_total += prompt_tokens
        done_at = self._clock()
        self.steps.add(
            started_at,
            prompt_tokens=prompt_tokens,
            decoding=decoding,
            context_tokens=context,
            run_s=ran_at - run_at,
            step_s=done_at - started_at,
        )

    def _take_results(self, plan: Plan, logits: np.ndarray, run_s: float, now: float) -> None:
        """Draw the next token of every sequence that has its logits; `logits` (W, vocab) in the batch's order."""
        scheduler = self.scheduler
        simple: list[Sequence] = []
        simple_rows: list[int] = []
        place = 0
        for sequence, rows in plan.rows_of():
            sequence.run_s += run_s
            begin, first = sequence.computed, place
            place += rows - sequence.first_wanted(rows)
            if sequence.draft:
                self._check_draft(sequence, logits[first:place], now)
                continue
            scheduler.computed(sequence, begin + rows)
            if sequence.score_from is not None and place > first and begin < sequence.prompt_length:
                self._score_prompt(sequence, logits[first:place], begin + rows - (place - first))
            if begin + rows == sequence.length:
                simple.append(sequence)
                simple_rows.append(place - 1)
        if simple:
            whole = len(simple_rows) == len(logits)
            chosen = logits if whole else logits[simple_rows]
            drawn = self._sampler.sample(chosen, [one.row for one in simple])
            for sequence, one in zip(simple, drawn, strict=True):
                self._drew(sequence, [one], now)

    def _check_draft(self, sequence: Sequence, logits: np.ndarray, now: float) -> None:
        """Draw one token after another while the draft guessed right; `logits` (1 + draft, vocab)."""
        draft, sequence.draft = sequence.draft, []
        length = sequence.length
        self.guessed_tokens_total += len(draft)
        drawn: list[Drawn] = []
        output = sequence.row.output
        kept = len(output)
        for index in range(len(draft) + 1):
            one = self._sampler.sample(logits[index : index + 1], [sequence.row])[0]
            drawn.append(one)
            if (
                one.failed
                or index == len(draft)
                or one.token != draft[index]
                or one.token in sequence.stop_ids
            ):
                break
            output.append(one.token)  # the next draw sees it, as penalties must; `_drew` appends for good
        del output[kept:]
        self.accepted_tokens_total += len(drawn) - 1
        sequence.ids[length : length + len(drawn)] = [one.token for one in drawn]
        self.scheduler.computed(sequence, length - 1 + len(drawn))
        self._drew(sequence, drawn, now)

    def _drew(self, sequence: Sequence, drawn: list[Drawn], now: float) -> None:
        """Keep drawn tokens and say so, and whether the sequence has ended."""
        try:
            tokens, finish = self._keep(sequence, drawn)
        except EngineError as error:
            self._spoilt(sequence, error)
            return
        self.drawn_tokens_total += len(tokens)
        if not sequence.first_at:
            sequence.first_at = now
            self.cached_tokens_total += sequence.cached
        sequence.last_at = now
        prompt_drawn, sequence.prompt_drawn = sequence.prompt_drawn, []
        self._out.append((sequence, Delta(tokens, drawn[: len(tokens)], finish, None, prompt_drawn or None)))
        if finish is not None:
            self.scheduler.remove(sequence)

    @staticmethod
    def _keep(sequence: Sequence, drawn: list[Drawn]) -> tuple[list[int], FinishReason | None]:
        """Append what was drawn up to the end of the sequence, and tell its guide; raises EngineError for what cannot be."""
        matcher = sequence.row.matcher
        tokens: list[int] = []
        for one in drawn:
            if one.failed:
                raise EngineError(f"after {sequence.length} tokens: {one.failed}")
            if one.token in sequence.stop_ids:
                return tokens, "stop"
            sequence.append(one.token)
            tokens.append(one.token)
            if matcher is not None:
                matcher.accept(one.token)
        if matcher is not None and matcher.stopped:
            return tokens, "stop"
        whole = sequence.length - sequence.prompt_length >= sequence.max_tokens
        return tokens, "length" if whole else None

    def _score_prompt(self, sequence: Sequence, logits: np.ndarray, begin: int) -> None:
        """Log-probabilities of the prompt's tokens behind position `begin`; `logits` (rows, vocab) from there on."""
        targets = sequence.ids[begin + 1 : min(begin + 1 + len(logits), sequence.prompt_length)]
        if len(targets):
            sequence.prompt_drawn += score(logits[: len(targets)], targets, sequence.score_top)

    # -- failing ----------------------------------------------------------------------------------------------

    def _failed(self, plan: Plan, error: EngineError) -> None:
        """The step of a plan failed: its sequences end, the others go on."""
        self.failed_steps_total += 1
        self.last_failure = error
        self.scheduler.spoiled(plan)
        for sequence, _ in list(plan.rows_of()):
            self._end(sequence, "error", error)

    def _spoilt(self, sequence: Sequence, error: EngineError) -> None:
        """No token can be drawn for a sequence: it fails alone, and nobody shares what may be at fault."""
        for block in sequence.table:
            self.pool.retract(block)
        self._end(sequence, "error", error)

    def _end(self, sequence: Sequence, finish: FinishReason, error: PacelineError | None = None) -> None:
        if sequence.status != "ended":
            self.scheduler.remove(sequence)
            self._out.append((sequence, Delta([], [], finish, error)))

    def _fail_all(self, error: EngineError) -> None:
        scheduler = self.scheduler
        for sequence in scheduler.everyone():
            self._end(sequence, "error", error)
        if self._out:
            out, self._out = self._out, []
            self._deliver(out)

    # -- state ------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, dict[str, float]]:
        """Counters and gauges by area, for the metrics page."""
        pool, scheduler = self.pool, self.scheduler
        return {
            "engine": {
                "running_sequences": len(scheduler.running),
                "waiting_sequences": scheduler.waiting,
                "waiting_tokens": scheduler.waiting_tokens,
                "steps_total": self.steps.steps,
                "failed_steps_total": self.failed_steps_total,
                "halved_steps_total": self.halved_steps_total,
                "preemptions_total": scheduler.preemptions_total,
                "prompt_tokens_total": self.prompt_tokens_total,
                "cached_tokens_total": self.cached_tokens_total,
                "drawn_tokens_total": self.drawn_tokens_total,
                "guessed_tokens_total": self.guessed_tokens_total,
                "accepted_tokens_total": self.accepted_tokens_total,
            },
            "kv": {
                "blocks": pool.total,
                "blocks_held": pool.held,
                "blocks_idle": pool.idle,
                "blocks_reused_total": pool.reused_blocks_total,
                "blocks_evicted_total": pool.evicted_blocks_total,
            },
        }

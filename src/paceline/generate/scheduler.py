"""Who runs in the next step: decoding first, then prompts in chunks within what is left of the token budget.

The scheduler never waits and computes nothing: `plan` chooses and takes blocks, `Plan.batch` writes down what the
runner computes, and the engine tells it afterwards what came out. Belongs to the engine's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf
from typing import Annotated, Final

import msgspec
import numpy as np

from paceline.base.knob import knob
from paceline.generate.batch import Batch
from paceline.generate.blocks import ROOT, BlockPool, key_of
from paceline.generate.runner import BLOCK_TOKENS
from paceline.generate.sequence import Sequence
from paceline.generate.speculation import guess
from paceline.generate.step_log import StepTime

CLASSES: Final = 3
"""Priorities: high, normal, low."""


class SchedulePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How sequences share the steps of the engine."""

    max_batch_tokens: Annotated[
        int,
        knob(
            "Tokens computed in one step at most: decoding sequences count one each, prompts fill the rest in chunks.",
            ge=16,
            le=65536,
            unit="tokens",
            live=True,
            tune=True,
            cost="latency",
            grid=(128, 256, 512, 1024),
        ),
    ] = 512
    max_sequences: Annotated[
        int,
        knob(
            "Sequences that run at the same time at most; more wait.",
            ge=1,
            le=4096,
            unit="sequences",
            tune=True,
            cost="memory",
            grid=(8, 16, 32, 64, 128),
        ),
    ] = 64
    slowdown: Annotated[
        float,
        knob(
            "A step with prompts in it may take this many times as long as the decoding sequences' own would, more when "
            "more prompts wait than sequences decode; 0 lets prompts fill the whole budget.",
            ge=0,
            le=1000,
            live=True,
            tune=True,
            cost="latency",
            grid=(0.0, 1.5, 2.0, 4.0, 8.0),
        ),
    ] = 1.8
    ageing_s: Annotated[
        float,
        knob("Waiting this long lifts a sequence by one priority class.", gt=0, le=3600, unit="s", live=True),
    ] = 2.0
    speculative_tokens: Annotated[
        int,
        knob(
            "Tokens guessed per step from earlier text (n-gram lookup) and checked by the model; 0 is off.",
            ge=0,
            le=32,
            unit="tokens",
            live=True,
            tune=True,
            cost="cpu",
            grid=(0, 2, 4, 8),
        ),
    ] = 0


class Plan:
    """What one step computes."""

    __slots__ = ("decoding", "prompts")

    def __init__(self, decoding: list[Sequence], prompts: list[tuple[Sequence, int]]) -> None:
        self.decoding = decoding
        """Each computes its last token, and checks its draft."""
        self.prompts = prompts
        """With the tokens of the chunk."""

    def halves(self) -> tuple[Plan, Plan] | None:
        """The same work in two steps, or None when it is one sequence's: for running out of memory."""
        both = len(self.decoding) + len(self.prompts)
        if both < 2:
            return None
        cut = both // 2
        behind = max(0, cut - len(self.decoding))
        return (
            Plan(self.decoding[:cut], self.prompts[:behind]),
            Plan(self.decoding[cut:], self.prompts[behind:]),
        )

    def rows_of(self) -> Iterator[tuple[Sequence, int]]:
        """Every sequence with its rows, in the order of the batch."""
        for sequence in self.decoding:
            yield sequence, 1 + len(sequence.draft)
        yield from self.prompts


class Scheduler:
    """Waiting and running sequences over one pool of blocks."""

    def __init__(self, policy: SchedulePolicy, pool: BlockPool, *, context_tokens: int) -> None:
        self.policy = policy
        """May be replaced while running, but for `max_sequences`."""
        self.pool = pool
        self._waiting: tuple[deque[Sequence], ...] = tuple(deque() for _ in range(CLASSES))
        self.running: list[Sequence] = []
        """In the order they were admitted."""
        self._slots = list(range(policy.max_sequences - 1, -1, -1))
        self._tables = np.zeros(
            (policy.max_sequences, -(-context_tokens // BLOCK_TOKENS) + 2), dtype=np.int32
        )
        self._next_deadline = inf
        self.preemptions_total = 0
        self.waiting_tokens = 0
        """Prompt tokens of the waiting sequences, without what the prefix cache may save."""

    # -- coming and going -------------------------------------------------------------------------------------

    def add(self, sequence: Sequence) -> None:
        """Queue it behind those of its class."""
        self._waiting[sequence.priority].append(sequence)
        self._next_deadline = min(self._next_deadline, sequence.deadline_at)
        self.waiting_tokens += sequence.length

    def remove(self, sequence: Sequence) -> None:
        """Take it out wherever it is, and free its blocks."""
        if sequence.status == "running":
            self._vacate(sequence)
            self.running.remove(sequence)
        elif sequence.status == "waiting":
            self._waiting[sequence.priority].remove(sequence)
            self.waiting_tokens -= sequence.length
        sequence.status = "ended"

    def expired(self, now: float) -> list[Sequence]:
        """Those whose deadline is over; the caller removes them."""
        if now < self._next_deadline:
            return []
        everyone = self.everyone()
        late = [one for one in everyone if one.deadline_at <= now]
        self._next_deadline = min((one.deadline_at for one in everyone if one.deadline_at > now), default=inf)
        return late

    def everyone(self) -> list[Sequence]:
        """All that run or wait."""
        return [*self.running, *(one for line in self._waiting for one in line)]

    @property
    def waiting(self) -> int:
        """Sequences that do not run yet, or were preempted."""
        return sum(map(len, self._waiting))

    # -- planning ---------------------------------------------------------------------------------------------

    def plan(self, now: float, step_time: StepTime) -> Plan | None:
        """What to compute next, its blocks taken; None when there is nothing to do."""
        decoding = self._plan_decoding()
        rows = sum(1 + len(one.draft) for one in decoding)
        budget = self.policy.max_batch_tokens - rows
        if decoding and self.policy.slowdown:
            budget = min(budget, self._prompt_share(decoding, step_time))
        prompts = self._plan_prompts(budget, now)
        if not decoding and not prompts:
            return None
        return Plan(decoding, prompts)

    def _plan_decoding(self) -> list[Sequence]:
        """Every sequence that needs one token only, with room for it; the last comers make room for the others."""
        decoding: list[Sequence] = []
        guesses = self.policy.speculative_tokens
        for sequence in list(self.running):
            if sequence.status != "running" or not sequence.decoding:
                continue
            sequence.draft = self._draft(sequence, guesses) if guesses else []
            lacking = sequence.blocks_for(sequence.length + len(sequence.draft))
            if lacking > self.pool.available:
                sequence.draft = []
                lacking = sequence.blocks_for(sequence.length)
            while lacking > self.pool.available and sequence.status == "running":
                self._preempt(self._victim())
            if sequence.status == "running":
                self._extend(sequence, lacking)
                decoding.append(sequence)
        return [one for one in decoding if one.status == "running"]

    @staticmethod
    def _draft(sequence: Sequence, guesses: int) -> list[int]:
        if sequence.row.matcher is not None:
            return []  # a guide must see each token before the next is drawn
        left = sequence.max_tokens - (sequence.length - sequence.prompt_length) - 1
        return guess(sequence.ids[: sequence.length], min(guesses, left)) if left > 0 else []

    def _prompt_share(self, decoding: list[Sequence], step_time: StepTime) -> int:
        """Prompt tokens that may ride in this step without holding up the decoding sequences too long."""
        context = sum(one.length for one in decoding)
        alone_s = step_time.of(0, len(decoding), context)
        # Prompts that wait count as much as sequences that decode: many of them may slow down a few more.
        behind = self.waiting + len(self.running) - len(decoding)
        allowed = self.policy.slowdown * max(1.0, behind / len(decoding))
        per_token_s = step_time.prompt_token_s
        if per_token_s <= 0.0:
            return self.policy.max_batch_tokens
        # Never none, or a prompt beside fast decoding would wait for ever.
        return max(BLOCK_TOKENS, int((allowed - 1.0) * alone_s / per_token_s))

    def _plan_prompts(self, budget: int, now: float) -> list[tuple[Sequence, int]]:
        """Chunks of prompts: those under way first, then the waiting by class and arrival, as far as blocks go."""
        prompts: list[tuple[Sequence, int]] = []
        under_way = [sequence for sequence in self.running if not sequence.decoding]
        for sequence in under_way:
            if budget <= 0:
                return prompts
            budget -= self._chunk(sequence, budget, prompts, others=self.waiting > 0 or len(under_way) > 1)
        while budget > 0 and self._slots:
            line = self._first_line(now)
            if line is None or not self._admit(line[0], now):
                break
            sequence = line.popleft()
            self.waiting_tokens -= sequence.length
            budget -= self._chunk(sequence, budget, prompts, others=bool(under_way) or self.waiting > 0)
        return prompts

    def _chunk(
        self, sequence: Sequence, budget: int, prompts: list[tuple[Sequence, int]], *, others: bool
    ) -> int:
        """Plan the sequence's next chunk and let others share its full blocks, even within this step."""
        rows = min(sequence.outstanding, budget)
        if others and rows > budget // 2 >= BLOCK_TOKENS and sequence.outstanding > budget:
            rows = budget // 2  # a prompt of several steps leaves half of each to those behind it
        prompts.append((sequence, rows))
        self._publish(sequence, sequence.computed + rows)
        return rows

    def _first_line(self, now: float) -> deque[Sequence] | None:
        """The class whose first sequence is next; waiting lifts it."""
        best, first = None, (inf, inf)
        for line in self._waiting:
            if line:
                head = line[0]
                lifted = head.priority - (now - head.arrived_at) // self.policy.ageing_s
                first, best = min((first, best), ((lifted, head.arrived_at), line), key=lambda pair: pair[0])
        return best

    def _admit(self, sequence: Sequence, now: float) -> bool:
        """Give it a slot and blocks for all it knows, sharing what is computed already; False when there is no room."""
        pool = self.pool
        last = sequence.length if sequence.score_from is None else min(sequence.score_from, sequence.length)
        shareable = (last - 1) // BLOCK_TOKENS  # the rows whose logits are wanted must be computed
        found = pool.spelled(sequence.keys[:shareable], sequence.ids)
        lacking = sequence.blocks_for(sequence.length) - len(found)
        spare = min(len(self.running), pool.total // 16)  # so that those who decode can go on for a while
        if lacking + spare > pool.available - pool.idle_among(found) and self.running:
            return False
        pool.hold(found)
        sequence.slot = self._slots.pop()
        sequence.table.extend(found)
        self._tables[sequence.slot, : len(found)] = found
        sequence.computed = len(found) * BLOCK_TOKENS
        sequence.published = len(found)
        if not sequence.preempted:
            sequence.cached = sequence.computed
            sequence.first_run_at = now
        self._extend(sequence, lacking)
        sequence.status = "running"
        self.running.append(sequence)
        return True

    def _extend(self, sequence: Sequence, blocks: int) -> None:
        for _ in range(blocks):
            block = self.pool.take()
            self._tables[sequence.slot, len(sequence.table)] = block
            sequence.table.append(block)

    def _publish(self, sequence: Sequence, computed: int) -> None:
        """Let others share the full blocks among the first `computed` tokens."""
        while (sequence.published + 1) * BLOCK_TOKENS <= computed:
            index = sequence.published
            raw = sequence.ids[index * BLOCK_TOKENS : (index + 1) * BLOCK_TOKENS].tobytes()
            if index == len(sequence.keys):
                sequence.keys.append(key_of(sequence.keys[-1] if sequence.keys else ROOT, raw))
            self.pool.publish(sequence.table[index], sequence.keys[index], raw)
            sequence.published += 1

    # -- preemption -------------------------------------------------------------------------------------------

    def _victim(self) -> Sequence:
        """Of the lowest class, the last one admitted: it loses least."""
        return max(reversed(self.running), key=lambda one: one.priority)

    def _preempt(self, sequence: Sequence) -> None:
        """Back to the head of its line; what it computed stays in the prefix cache while there is room."""
        self._vacate(sequence)
        self.running.remove(sequence)
        sequence.computed = sequence.published = 0
        sequence.preempted += 1
        sequence.draft = []
        sequence.status = "waiting"
        self._waiting[sequence.priority].appendleft(sequence)
        self.waiting_tokens += sequence.length
        self.preemptions_total += 1

    def _vacate(self, sequence: Sequence) -> None:
        self.pool.release(sequence.table)
        sequence.table.clear()
        self._slots.append(sequence.slot)
        sequence.slot = -1

    # -- carrying out -----------------------------------------------------------------------------------------

    def batch(self, plan: Plan) -> Batch:
        """The arrays of a plan; a chunk that ends its prompt wants its last row, a draft wants all of its rows."""
        if not plan.prompts and not any(one.draft for one in plan.decoding):
            return self._decoding_batch(plan.decoding)
        tokens: list[np.ndarray] = []
        positions: list[np.ndarray] = []
        starts, contexts, slots = [0], [], []
        wanted: list[int] = []
        for sequence, rows in plan.rows_of():
            begin, first = sequence.computed, starts[-1]
            if sequence.draft:
                tokens.append(np.array([sequence.ids[begin], *sequence.draft], dtype=np.int32))
            else:
                tokens.append(sequence.ids[begin : begin + rows])
            positions.append(np.arange(begin, begin + rows, dtype=np.int32))
            starts.append(first + rows)
            contexts.append(begin + rows)
            slots.append(sequence.slot)
            wanted.extend(range(first + sequence.first_wanted(rows), first + rows))
        width = -(-max(contexts) // BLOCK_TOKENS)
        return Batch(
            tokens=np.concatenate(tokens),
            positions=np.concatenate(positions),
            starts=np.array(starts, dtype=np.int32),
            contexts=np.array(contexts, dtype=np.int32),
            tables=np.ascontiguousarray(self._tables[slots, :width]),
            wanted=np.array(wanted, dtype=np.int32),
        )

    def _decoding_batch(self, decoding: list[Sequence]) -> Batch:
        """The usual step, without a pass per array over Python objects."""
        count = len(decoding)
        contexts = np.array([one.length for one in decoding], dtype=np.int32)
        order = np.arange(count + 1, dtype=np.int32)
        width = -(-int(contexts.max()) // BLOCK_TOKENS)
        return Batch(
            tokens=np.array([one.ids[one.length - 1] for one in decoding], dtype=np.int32),
            positions=contexts - 1,
            starts=order,
            contexts=contexts,
            tables=np.ascontiguousarray(self._tables[[one.slot for one in decoding], :width]),
            wanted=order[:count],
        )

    def computed(self, sequence: Sequence, tokens: int) -> None:
        """The first `tokens` of a running sequence have their keys and values."""
        sequence.computed = tokens
        if (sequence.published + 1) * BLOCK_TOKENS <= tokens:
            self._publish(sequence, tokens)

    def postpone(self, plan: Plan) -> None:
        """Nothing of this plan was computed, nor will be: its sequences wait again."""
        self.spoiled(plan)
        for sequence, _ in list(plan.rows_of()):
            if sequence.status == "running":
                self._preempt(sequence)

    def spoiled(self, plan: Plan) -> None:
        """The step of this plan failed: nobody may share what it was to compute."""
        for sequence, _ in plan.rows_of():
            for block in sequence.table[sequence.computed // BLOCK_TOKENS : sequence.published]:
                self.pool.retract(block)
            sequence.published = min(sequence.published, sequence.computed // BLOCK_TOKENS)

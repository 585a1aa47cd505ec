"""Admission of generations: the gate refuses and never waits.

What counts is what will really be computed: prompt tokens less those whose keys and values the prefix cache has.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from paceline.base.clock import Clock, monotonic
from paceline.base.errors import DeadlineExceeded, Overloaded
from paceline.base.knob import knob
from paceline.generate.engine import Engine

RATE_SHARE: Final = 0.1
"""Weight of the newest sequence in the mean time a sequence runs."""


class AdmissionPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a generation is refused instead of queued."""

    max_waiting: Annotated[
        int,
        knob(
            "Sequences without a first token at most, all callers together.",
            ge=1,
            le=1_000_000,
            unit="sequences",
            live=True,
            tune=True,
            cost="latency",
            grid=(32, 128, 512, 1024),
        ),
    ] = 1024
    max_waiting_tokens: Annotated[
        int,
        knob(
            "Prompt tokens still to be computed at most; what the prefix cache has does not count.",
            ge=1,
            le=1_000_000_000,
            unit="tokens",
            live=True,
        ),
    ] = 1_000_000
    slo_ttft_ms: Annotated[
        float,
        knob(
            "Refuse a request whose predicted time to first token is longer than this (or than its own deadline); 0 "
            "switches off.",
            ge=0,
            le=3_600_000,
            unit="ms",
            live=True,
            tune=True,
            cost="latency",
            grid=(0.0, 500.0, 1000.0, 2000.0, 5000.0),
        ),
    ] = 0.0


class Admission:
    """Counts what is admitted and has no first token yet. Belongs to the service's event loop."""

    def __init__(self, policy: AdmissionPolicy, engine: Engine, clock: Clock = monotonic) -> None:
        self.policy = policy
        """May be replaced while serving."""
        self._engine = engine
        self._clock = clock
        self.sequences = 0
        self.tokens = 0
        self.running = 0
        """With a first token, and not at their end."""
        self._mean_s = 0.0
        self.admitted_total = self.refused_total = self.expired_total = 0

    def admit(self, sequences: int, tokens: int, deadline_at: float) -> None:
        """Admit sequences that will compute `tokens` prompt tokens together, or raise; `arrived` takes them off again.

        DeadlineExceeded: its time is over. Overloaded: too much waits, or the predicted time to first token is too long;
        `retry_after_s` is when it would be admitted if nobody else came.
        """
        now, policy = self._clock(), self.policy
        if deadline_at <= now:
            self.expired_total += 1
            raise DeadlineExceeded(
                f"the deadline passed {(now - deadline_at) * 1e3:.0f} ms ago; allow more time"
            )
        wait_s = self.predicted_s(sequences, tokens)
        if self.sequences and (
            self.sequences + sequences > policy.max_waiting
            or self.tokens + tokens > policy.max_waiting_tokens
        ):
            self.refused_total += 1
            raise Overloaded(
                f"{self.sequences} sequences of {self.tokens} prompt tokens wait, and {sequences} of {tokens} more would "
                f"pass the limit of {policy.max_waiting} sequences or {policy.max_waiting_tokens} tokens "
                "(generate.admission); retry after the time given",
                retry_after_s=wait_s,
            )
        limit_s = min(deadline_at - now, policy.slo_ttft_ms / 1e3 or deadline_at - now)
        if self.sequences and wait_s > limit_s:
            self.refused_total += 1
            raise Overloaded(
                f"the predicted time to first token of {wait_s * 1e3:.0f} ms is longer than the {limit_s * 1e3:.0f} ms "
                "allowed; retry after the time given, or allow more (deadline, generate.admission.slo_ttft_ms)",
                retry_after_s=wait_s - limit_s,
            )
        self.admitted_total += 1
        self.sequences += sequences
        self.tokens += tokens

    def predicted_s(self, sequences: int, tokens: int) -> float:
        """Seconds until such a request would have its first token, by the engine's fitted step time."""
        policy, time = self._engine.scheduler.policy, self._engine.steps.time
        prompts_s = (self.tokens + tokens) * time.prompt_token_s + time.fixed_s
        if self.running and policy.slowdown > 1.0:
            prompts_s *= policy.slowdown / (policy.slowdown - 1.0)  # decoding has its share of every step
        over = self.running + self.sequences + sequences - policy.max_sequences
        slots_s = over * self._mean_s / policy.max_sequences if over > 0 else 0.0
        return max(prompts_s, slots_s)

    def first_token(self, tokens: int) -> None:
        """A sequence admitted with `tokens` has its first token."""
        self.sequences -= 1
        self.tokens -= tokens
        self.running += 1

    def left(self, tokens: int) -> None:
        """A sequence ended, or was taken back, before its first token."""
        self.sequences -= 1
        self.tokens -= tokens

    def ended(self, ran_s: float) -> None:
        """A sequence with a first token has ended, `ran_s` seconds after it began to run."""
        self.running -= 1
        self._mean_s += (RATE_SHARE if self._mean_s else 1.0) * (ran_s - self._mean_s)

    def stats(self) -> dict[str, float]:
        """Requests by verdict, and what waits."""
        return {
            "admitted_total": self.admitted_total,
            "refused_total": self.refused_total,
            "expired_total": self.expired_total,
            "waiting_sequences": self.sequences,
            "waiting_tokens": self.tokens,
        }

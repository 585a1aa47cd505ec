"""One sequence of tokens on its way from prompt to last token: the only thing that travels through the engine."""

from __future__ import annotations

from math import inf
from typing import Any, Literal

import msgspec
import numpy as np

from paceline.base.errors import PacelineError
from paceline.base.generation import FinishReason
from paceline.generate.blocks import ROOT, Key, keys_of
from paceline.generate.runner import BLOCK_TOKENS
from paceline.generate.sampler import Drawn, Row

Status = Literal["waiting", "running", "ended"]


class Delta(msgspec.Struct, gc=False):
    """What one step added to a sequence."""

    tokens: list[int]
    drawn: list[Drawn]
    """One per token, with the log-probabilities that were asked for."""
    finish: FinishReason | None = None
    error: PacelineError | None = None
    """Why the sequence failed; `finish` is then `error`."""
    prompt_logprobs: list[Drawn] | None = None
    """For the prompt's tokens but the first, once all are computed, when asked for."""


class Sequence:
    """Made by the service, changed by the engine's thread only."""

    __slots__ = (
        "arrived_at",
        "cached",
        "computed",
        "deadline_at",
        "draft",
        "first_at",
        "first_run_at",
        "ids",
        "keys",
        "last_at",
        "length",
        "max_tokens",
        "preempted",
        "priority",
        "prompt_drawn",
        "prompt_length",
        "published",
        "row",
        "run_s",
        "score_from",
        "score_top",
        "slot",
        "status",
        "stop_ids",
        "stream",
        "table",
        "told",
    )

    def __init__(  # noqa: PLR0913 - what a caller may ask of one sequence
        self,
        prompt: np.ndarray,
        row: Row,
        stream: Any,
        *,
        max_tokens: int,
        stop_ids: frozenset[int] = frozenset(),
        priority: int = 1,
        deadline_at: float = inf,
        arrived_at: float = 0.0,
        score_from: int | None = None,
        score_top: int = 0,
    ) -> None:
        """`prompt` are int32 ids, one at least."""
        self.prompt_length = self.length = len(prompt)
        self.ids = np.empty(self.prompt_length + max_tokens, dtype=np.int32)
        """Prompt and output; the first `length` are known."""
        self.ids[: self.length] = prompt
        self.row = row
        """How the next token is drawn; its `output` are the tokens drawn so far."""
        self.stream = stream
        """Whose it is; the engine only hands it on with what came out."""
        self.max_tokens = max_tokens
        self.stop_ids = stop_ids
        self.priority = priority
        """0 high, 1 normal, 2 low."""
        self.deadline_at = deadline_at
        self.arrived_at = arrived_at
        self.score_from = score_from
        """The first prompt token whose log-probability is asked for, 1 or more; None: none is."""
        self.score_top = score_top
        """Alternatives told with each of them."""
        self.prompt_drawn: list[Drawn] = []
        self.status: Status = "waiting"
        self.computed = 0
        """Tokens whose keys and values are in the blocks of `table`."""
        self.table: list[int] = []
        self.keys: list[Key] = keys_of(prompt)
        """Of the full blocks known so far."""
        self.published = 0
        """Blocks of the table that others may share."""
        self.slot = -1
        """Row of the scheduler's table of blocks, while running."""
        self.draft: list[int] = []
        """Guessed tokens that the next step checks."""
        self.cached = 0
        """Prompt tokens that were computed already when it first ran."""
        self.preempted = 0
        self.told = False
        """Whether its caller has had something of it."""
        self.first_run_at = self.first_at = self.last_at = 0.0
        self.run_s = 0.0

    @property
    def outstanding(self) -> int:
        """Tokens to compute before the next one can be drawn; 1 while decoding."""
        return self.length - self.computed

    @property
    def decoding(self) -> bool:
        """Whether only the last token is missing its keys and values."""
        return self.length - self.computed == 1 and self.length > self.prompt_length

    def first_wanted(self, rows: int) -> int:
        """Of the next `rows` rows, the first whose logits are needed; all behind it are, too. `rows`: none."""
        if self.draft:
            return 0
        begin = self.computed
        if self.score_from is not None and begin < self.prompt_length:
            return min(rows, max(0, self.score_from - 1 - begin))
        return rows - 1 if begin + rows == self.length else rows

    def blocks_for(self, tokens: int) -> int:
        """Blocks it still lacks to hold `tokens`."""
        return -(-tokens // BLOCK_TOKENS) - len(self.table)

    def append(self, token: int) -> None:
        """One more token is known."""
        self.ids[self.length] = token
        self.length += 1
        self.row.output.append(token)

    def last_key(self) -> Key:
        """The key of the last full block known."""
        return self.keys[-1] if self.keys else ROOT

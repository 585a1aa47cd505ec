"""From logits to tokens, row by row: the same row gives the same token whatever the batch.

What happens to a row, in this order: its own log-probabilities are noted, penalties and bias are applied, the guide
strikes out what may not come, and a token is drawn (`draw` says how). A row that cannot be drawn from fails alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

import msgspec
import numpy as np

from paceline.base.errors import EngineError
from paceline.base.generation import Sampling
from paceline.generate.draw import SPAN, Fault, Shape, draw
from paceline.generate.draw import fault as fault_of
from paceline.generate.guide import Matcher
from paceline.generate.logprobs import log_total, token_logprobs, top_logprobs
from paceline.generate.penalties import bias, penalise
from paceline.generate.randomness import uniform

COMPILES: Final = find_spec("numba") is not None
_REASONS: Final = {
    Fault.NOT_A_NUMBER: "the model's logits have a NaN; its weights or its precision are broken, try fp32",
    Fault.INFINITE: "the model's logits have an infinity; its weights or its precision are broken, try fp32",
    Fault.NOTHING_LEFT: "no token may come next: the guide and the logit_bias leave none",
}


class Row(msgspec.Struct):
    """How the tokens of one output are drawn; the engine appends to `output` what it keeps."""

    sampling: Sampling
    seed: int
    """Any int; the choice's own (`choice_seed`)."""
    prompt: np.ndarray
    """Ids, int32; for the repetition penalty."""
    output: list[int] = []
    """Ids kept so far: for the penalties, and their number is the place in the row of random numbers."""
    matcher: Matcher | None = None
    """Asked for its mask only; whoever keeps the token tells it so (`Matcher.accept`)."""
    logprobs: int | None = None
    """Alternatives wanted; 0 wants the drawn token's own only."""


class Drawn(msgspec.Struct, frozen=True, gc=False):
    """What came of a row."""

    token: int
    """-1 when the row failed."""
    logprob: float | None = None
    """Under the model's own logits: before penalties, bias, guide and temperature."""
    top: tuple[tuple[int, float], ...] = ()
    """(id, logprob) of the likeliest, when asked for."""
    failed: str = ""
    """Why no token could be drawn; the other rows are not concerned."""


class Sampler:
    """Draws tokens for the rows of a batch. One thread at a time."""

    def __init__(self, vocab_size: int, *, compiled: bool = COMPILES) -> None:
        """`compiled` without numba raises ModuleNotFoundError."""
        self._weights = np.empty(vocab_size, np.int32)
        self._sums = np.empty(-(-vocab_size // SPAN), np.int64)
        self._compiled = compiled

    def warm_up(self) -> None:
        """Load or compile what draws, which takes a second where nothing was kept; the first draw does it otherwise."""
        row = Row(Sampling(), 0, np.zeros(0, np.int32))
        self.sample(np.zeros((1, len(self._weights)), np.float32), [row])

    def sample(self, logits: np.ndarray, rows: Sequence[Row]) -> list[Drawn]:
        """One token for each row of `logits`, float32 (W, V) and C-contiguous, which may be overwritten."""
        faults: list[int] = [Fault.NONE] * len(rows)
        failed: dict[int, str] = {}
        shown: dict[int, tuple[np.ndarray, float, tuple[tuple[int, float], ...]]] = {}
        for place, row in enumerate(rows):
            shaped = _shaped(row)
            if not shaped and row.logprobs is None:
                continue
            own = logits[place]
            faults[place] = fault_of(own)
            if faults[place]:
                continue
            if row.logprobs is not None:
                shown[place] = own.copy() if shaped else own, log_total(own), top_logprobs(own, row.logprobs)
            if shaped:
                try:
                    _shape(own, row)
                except EngineError as error:
                    faults[place], failed[place] = Fault.NOTHING_LEFT, error.message
        tokens, faults = self._draw(logits, rows, faults)
        drawn = []
        for place, (token, fault) in enumerate(zip(tokens, faults, strict=True)):
            if fault:
                drawn.append(Drawn(-1, failed=failed.get(place) or _REASONS[Fault(fault)]))
            elif place in shown:
                own, total, top = shown[place]
                drawn.append(Drawn(token, float(own[token]) - total, top))
            else:
                drawn.append(Drawn(token))
        return drawn

    def _draw(
        self, logits: np.ndarray, rows: Sequence[Row], faults: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """Tokens and faults; rows with a fault already are left alone."""
        shapes = [
            Shape(row.sampling.temperature, row.sampling.top_k, row.sampling.top_p, row.sampling.min_p)
            for row in rows
        ]
        uniforms = [
            0.0 if shape.greedy else uniform(row.seed, len(row.output))
            for shape, row in zip(shapes, rows, strict=True)
        ]
        if not self._compiled:
            drawn = [
                draw(logits[place], shape, uniforms[place]) if not faults[place] else (-1, faults[place])
                for place, shape in enumerate(shapes)
            ]
            return [token for token, _ in drawn], [int(fault) for _, fault in drawn]
        from paceline.generate.draw_compiled import ORDER, draw_rows  # noqa: PLC0415 - its compiler is optional

        orders = np.array(
            [
                (
                    shape.scale,
                    shape.top_p,
                    uniforms[place],
                    shape.top_k,
                    shape.least_weight,
                    -1,
                    faults[place],
                )
                for place, shape in enumerate(shapes)
            ],
            ORDER,
        )
        draw_rows(logits, logits.view(np.int32), orders, self._weights, self._sums)
        return orders["token"].tolist(), orders["fault"].tolist()


def _shaped(row: Row) -> bool:
    """Whether anything changes the row's logits before the draw."""
    sampling = row.sampling
    return (
        row.matcher is not None
        or bool(sampling.logit_bias)
        or sampling.repetition_penalty != 1.0
        or sampling.presence_penalty != 0.0
        or sampling.frequency_penalty != 0.0
    )


def _shape(logits: np.ndarray, row: Row) -> None:
    """Change a row (V,) in place. Raises EngineError when the guide breaks down."""
    penalise(logits, row.sampling, row.prompt, row.output)
    if row.sampling.logit_bias:
        bias(logits, row.sampling.logit_bias)
    if row.matcher is not None:
        row.matcher.mask(logits)


def score(logits: np.ndarray, targets: np.ndarray, top: int) -> list[Drawn]:
    """What drawing `targets` (n,) from `logits` (n, V) would have said of them, with `top` alternatives each."""
    logprobs, _ = token_logprobs(logits, targets)
    return [
        Drawn(int(token), float(logprob), top_logprobs(row, top))
        for row, token, logprob in zip(logits, targets, logprobs, strict=True)
    ]

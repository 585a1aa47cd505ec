"""One choice of an answer: from tokens as the engine gives them to events as the caller sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from paceline.base.generation import FinishReason, GenerateEvent, TokenLogprob
from paceline.generate.detokenizer import Detokenizer
from paceline.generate.sampler import Drawn
from paceline.generate.stop_strings import StopStrings
from paceline.generate.tokenizer import TextTokenizer


class _Waiting(NamedTuple):
    """A token whose text is not given out yet."""

    token: int
    logprob: TokenLogprob | None
    start: int
    """Characters of the output before the token's."""
    end: int
    """Characters of the output with the token's; one more where it ends inside a character."""


class ChoiceText:
    """Turns the tokens of one choice into events whose tokens go with their texts.

    A token is told with the text that it completes: it waits as long as its text is held back, and those that make up a
    stop string are never told.
    """

    def __init__(
        self, tokenizer: TextTokenizer, stops: Sequence[str] = (), *, index: int = 0, logprobs: bool = False
    ) -> None:
        """`index` of the choice. Raises InvalidRequest for `stops` that `StopStrings` refuses."""
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(tokenizer)
        self._stops = StopStrings(stops)
        self._index = index
        self._logprobs = logprobs
        self._waiting: deque[_Waiting] = deque()
        self._decoded = 0
        """Characters that the tokens gave, held back or not."""
        self._told = 0
        """Characters given out."""

    def push(
        self, tokens: Sequence[int], drawn: Sequence[Drawn] | None = None
    ) -> tuple[GenerateEvent | None, bool]:
        """(what can be told now, whether a stop string was found); then the event is the last, with `stop`.

        `drawn` goes with `tokens`, and is needed with logprobs only.
        """
        pieces = []
        for place, token in enumerate(tokens):
            piece, stopped = self._stops.push(
                self._decode(token, drawn[place] if drawn is not None and self._logprobs else None)
            )
            pieces.append(piece)
            if stopped:
                return self._event("".join(pieces), "stop"), True
        text = "".join(pieces)
        return (self._event(text) if text else None), False

    def finish(self, reason: FinishReason) -> GenerateEvent:
        """The last event: everything held back, and `reason`, unless what is left has a stop string in it."""
        text, stopped = self._stops.push(self._detokenizer.finish())
        if stopped:
            return self._event(text, "stop")
        text += self._stops.finish()
        self._decoded = self._told + len(text)
        return self._event(text, reason, rest=True)

    def _decode(self, token: int, drawn: Drawn | None) -> str:
        text = self._detokenizer.push((token,))
        start = self._decoded
        self._decoded += len(text)
        logprob = None
        if drawn is not None:
            name = self._tokenizer.token_text
            top = tuple((other, name(other), value) for other, value in drawn.top)
            logprob = TokenLogprob(token, name(token), drawn.logprob, top)
        self._waiting.append(_Waiting(token, logprob, start, self._decoded + self._detokenizer.halfway))
        return text

    def _event(self, text: str, reason: FinishReason | None = None, *, rest: bool = False) -> GenerateEvent:
        """`text` with its tokens: those whose text is out, or, when a stop string cut it, those that began before.

        `rest`: all that wait.
        """
        self._told += len(text)
        told = []
        while self._waiting:
            first = self._waiting[0]
            cut = reason == "stop" and not rest
            if not (rest or first.end <= self._told or (cut and first.start < self._told)):
                break
            told.append(self._waiting.popleft())
        return GenerateEvent(
            self._index,
            text,
            tuple(waiting.token for waiting in told),
            tuple(waiting.logprob for waiting in told if waiting.logprob is not None),
            reason,
        )

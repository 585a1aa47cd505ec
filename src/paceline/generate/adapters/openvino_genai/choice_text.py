"""The text of one choice, from its tokens, by the library's own detokeniser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from paceline.base.generation import FinishReason, GenerateEvent, TokenLogprob
from paceline.generate.stop_strings import StopStrings

WINDOW: Final = 8
"""Tokens decoded together at most, as long as they end with a whole character: what a token costs stays constant."""

Decode = Callable[[list[int]], str]
"""The text of tokens, without special ones, and without a character that is not complete."""


class TokenWindow:
    """Text from tokens as they come.

    The last tokens are decoded again with each new one and what is new at the end is its text: so spaces between tokens
    are right in vocabularies where a first one is dropped, and a character is told when it is complete.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._text = ""

    def push(self, token: int) -> str:
        """What `token` adds to the text; nothing for a special one or a part of a character."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        new = text[len(self._text) :]
        self._text = text
        if new and len(self._tokens) >= WINDOW:
            self._shorten()
        return new

    def _shorten(self) -> None:
        """Keep the last tokens that have a text of their own: the next one's space depends on there being one."""
        for count in range(1, len(self._tokens)):
            text = self._decode(self._tokens[-count:])
            if text:
                self._tokens, self._text = self._tokens[-count:], text
                return


class ChoiceText:
    """Events of one choice. A token is told with the next text, so those of a stop string are told with none."""

    def __init__(self, index: int, decode: Decode, stops: Sequence[str]) -> None:
        self._index = index
        self._window = TokenWindow(decode)
        self._stops = StopStrings(stops)
        self._tokens: list[int] = []
        self._logprobs: list[TokenLogprob] = []

    def push(self, token: int, logprob: TokenLogprob | None) -> tuple[GenerateEvent | None, bool]:
        """(what can be told now, whether a stop string has ended the choice)."""
        self._tokens.append(token)
        if logprob is not None:
            self._logprobs.append(logprob)
        text, stopped = self._stops.push(self._window.push(token))
        if stopped:
            return self._event(text, "stop") if text else GenerateEvent(
                self._index, "", finish_reason="stop"
            ), True
        return (self._event(text) if text else None), False

    def finish(self, reason: FinishReason) -> GenerateEvent:
        """The last event: what was held back, for no stop string came of it."""
        return self._event(self._stops.finish(), reason)

    def pass_over(self, token: int, logprob: TokenLogprob | None) -> None:
        """Count a token that ends the choice: it is told, and has no text."""
        self._tokens.append(token)
        if logprob is not None:
            self._logprobs.append(logprob)

    def _event(self, text: str, reason: FinishReason | None = None) -> GenerateEvent:
        tokens, logprobs = tuple(self._tokens), tuple(self._logprobs)
        self._tokens.clear()
        self._logprobs.clear()
        return GenerateEvent(self._index, text, tokens, logprobs, reason)

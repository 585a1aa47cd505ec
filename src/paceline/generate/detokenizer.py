"""Text from tokens as they come: what is given out never changes, and no character comes in halves."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterable
from typing import Final

from paceline.generate.tokenizer import TextTokenizer

_Utf8: Final = getincrementaldecoder("utf-8")


class Detokenizer:
    """The text of one output. The work per token does not depend on how much came before."""

    def __init__(self, tokenizer: TextTokenizer, *, continues: bool = True) -> None:
        """`continues`: a prompt stands before, so a first space is part of the text (see `TextTokenizer.decode`)."""
        self._tokenizer = tokenizer
        self._utf8 = _Utf8("replace")
        self._drops_space = tokenizer.drops_first_space and not continues

    def push(self, tokens: Iterable[int]) -> str:
        """The characters that `tokens` complete; maybe none."""
        new = b"".join(map(self._tokenizer.token_bytes, tokens))
        if self._drops_space and new:
            self._drops_space = False
            new = new.removeprefix(b" ")
        return self._utf8.decode(new)

    @property
    def halfway(self) -> bool:
        """Whether the last token ended inside a character."""
        return bool(self._utf8.getstate()[0])

    def finish(self) -> str:
        """A replacement for a character that was never completed; nothing otherwise."""
        return self._utf8.decode(b"", final=True)

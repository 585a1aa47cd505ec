"""Texts to token ids: never silent about what was cut, never slow because a text is huge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from paceline.base.errors import ConfigError, InvalidRequest, PayloadTooLarge
from paceline.embed.folder import ModelFolder

_CHARACTERS_PER_TOKEN: Final = 32
"""More than any natural text has: this many per token of the window are looked at before the rest is."""


class Ids(NamedTuple):
    """One tokenised text."""

    ids: np.ndarray
    """int32, special tokens included."""
    truncated: bool
    """Whether the text had more tokens than the window."""


class Tokens:
    """The tokeniser of a model folder. Thread-safe; texts of one call are encoded in parallel without the GIL."""

    def __init__(self, folder: ModelFolder) -> None:
        """Raises ConfigError when tokenizer.json is not one."""
        file = folder.path / "tokenizer.json"
        try:
            self._tokenizer: Tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise ConfigError(
                f"{file} cannot be read ({error}); copy it again", param="embed.model"
            ) from error
        self.max_tokens = folder.max_tokens
        self.vocabulary = folder.vocabulary or self._tokenizer.get_vocab_size()
        """Ids are 0 to this, exclusive."""
        if self._tokenizer.num_special_tokens_to_add(False) >= self.max_tokens:
            raise ConfigError(
                f"embed.max_tokens = {self.max_tokens} leaves no room beside the model's special tokens; set 8 or more",
                param="embed.max_tokens",
            )
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_tokens)
        self._characters = self.max_tokens * _CHARACTERS_PER_TOKEN

    def encode(
        self,
        texts: Sequence[str | Sequence[int]],
        *,
        positions: Sequence[int] | None = None,
        truncate: bool = True,
    ) -> list[Ids]:
        """Token ids of each text, cut to the window; `positions` are the indices to name in errors.

        Lists of ids are used as they are, as OpenAI's API does: no special token is added. Raises InvalidRequest
        for an empty text or an unknown id, PayloadTooLarge for a text over the window when `truncate` is off.
        """
        places = range(len(texts)) if positions is None else positions
        encoded: list[Ids | None] = [None] * len(texts)
        strings: list[int] = []
        for index, text in enumerate(texts):
            if len(text) == 0:
                raise InvalidRequest(
                    f"input[{places[index]}] is empty; send at least one character or token",
                    param=f"input[{places[index]}]",
                )
            if isinstance(text, str):
                strings.append(index)
            else:
                encoded[index] = self._checked(text, places[index])
        if strings:
            pieces = [str(texts[index]) for index in strings]
            for index, ids in zip(
                strings, self._encode(pieces, [places[index] for index in strings]), strict=True
            ):
                encoded[index] = ids
        if not truncate:
            for index, item in enumerate(encoded):
                if item is not None and item.truncated:
                    raise PayloadTooLarge(
                        f"input[{places[index]}] is longer than the model's {self.max_tokens} tokens; "
                        "shorten it or send truncate = true",
                        param=f"input[{places[index]}]",
                    )
        return [item for item in encoded if item is not None]

    def _encode(self, texts: list[str], places: Sequence[int]) -> list[Ids]:
        heads = [text[: self._characters] for text in texts]
        try:
            if len(heads) == 1:
                # Inline: a batch goes to the library's threads, whose wake-up costs more than a text.
                encodings: list[Encoding] = [self._tokenizer.encode(heads[0])]
            else:
                encodings = self._tokenizer.encode_batch_fast(heads)
        except (
            TypeError,
            UnicodeEncodeError,
        ):  # a lone surrogate has no UTF-8; the batch does not say which text
            raise self._not_unicode(texts, places) from None
        for index, text in enumerate(texts):
            if len(text) > self._characters and not encodings[index].overflowing:
                # The head did not fill the window (white space, say), so the rest counts.
                encodings[index] = self._tokenizer.encode(text)
        return [Ids(np.array(encoding.ids, np.int32), bool(encoding.overflowing)) for encoding in encodings]

    def _checked(self, ids: Sequence[int], place: int) -> Ids:
        if min(ids) < 0 or max(ids) >= self.vocabulary:
            at = next(at for at, token in enumerate(ids) if not 0 <= token < self.vocabulary)
            raise InvalidRequest(
                f"input[{place}][{at}] = {ids[at]} is not a token id of this model, which has 0 to {self.vocabulary - 1}; "
                "tokenise with the model's own tokenizer or send text",
                param=f"input[{place}][{at}]",
            )
        return Ids(np.array(ids[: self.max_tokens], np.int32), len(ids) > self.max_tokens)

    @staticmethod
    def _not_unicode(texts: list[str], places: Sequence[int]) -> InvalidRequest:
        for place, text in zip(places, texts, strict=True):
            if any("\ud800" <= character <= "\udfff" for character in text):
                return InvalidRequest(
                    f"input[{place}] has a lone surrogate, which is not Unicode text; encode it as UTF-8 properly",
                    param=f"input[{place}]",
                )
        return InvalidRequest("input is not text that can be tokenised; send UTF-8 text", param="input")

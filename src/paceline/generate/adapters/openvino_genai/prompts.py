"""Prompts as token ids, by the library's own tokenizer and chat template, within the model's limits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from paceline.base.errors import InvalidRequest, PayloadTooLarge
from paceline.base.generation import Chat

CHARACTERS_INLINE: Final = 4000
"""More text than this is tokenised in a thread: the event loop must not stand still for milliseconds."""


class Prompts:
    """Wraps the library's tokenizer, which is thread-safe."""

    def __init__(self, tokenizer: Any, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self.context_tokens = context_tokens
        """Tokens of prompt and output together."""
        self.vocab_size = len(tokenizer.get_vocab())

    async def tokens(
        self, prompt: str | list[int] | Chat, param: str = "prompt", *, special: bool = True
    ) -> list[int]:
        """Its ids; `special` puts what the model expects at the beginning of a text. Raises InvalidRequest."""
        if isinstance(prompt, list):
            return self._checked(prompt, param)
        if isinstance(prompt, Chat):
            # The template writes special tokens itself.
            prompt, special = self._rendered(prompt), False
        if len(prompt) <= CHARACTERS_INLINE:
            return self._encoded(prompt, param, special)
        return await asyncio.to_thread(self._encoded, prompt, param, special)

    def fitted(self, tokens: list[int], *, max_tokens: int | None, truncate: bool) -> list[int]:
        """The prompt, cut if that was asked for. Raises InvalidRequest when empty, PayloadTooLarge when too long."""
        context = self.context_tokens
        if not tokens:
            raise InvalidRequest("the prompt has no tokens; send at least one", param="prompt")
        if len(tokens) < context:
            return tokens
        if not truncate:
            raise PayloadTooLarge(
                f"the prompt has {len(tokens)} tokens and the context holds {context}, one at least for the answer; "
                "shorten it, or send truncate = true to keep its end",
                param="prompt",
            )
        return tokens[len(tokens) - max(1, context - (max_tokens or context // 4)) :]

    def room(self, prompt_tokens: int, asked: int | None) -> int:
        """Tokens that may be generated. Raises InvalidRequest for more than that."""
        room = self.context_tokens - prompt_tokens
        if asked is not None and asked > room:
            raise InvalidRequest(
                f"max_tokens = {asked} and the prompt's {prompt_tokens} tokens are more than the context of "
                f"{self.context_tokens}; ask for {room} or fewer, or leave max_tokens out",
                param="max_tokens",
            )
        return room if asked is None else asked

    def text(self, tokens: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        return str(self._tokenizer.decode(list(tokens)))

    def _encoded(self, text: str, param: str, special: bool) -> list[int]:
        if not text:
            return []
        try:
            encoded = self._tokenizer.encode(text, add_special_tokens=special)
        except TypeError:  # no C++ string can be made of it
            raise InvalidRequest(
                f"{param} has a lone surrogate, which is not Unicode text; encode it as UTF-8 properly",
                param=param,
            ) from None
        ids: list[int] = encoded.input_ids.data[0].tolist()
        return ids

    def _rendered(self, chat: Chat) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    [_plain(message, place) for place, message in enumerate(chat.messages)],
                    add_generation_prompt=True,
                    tools=[dict(tool) for tool in chat.tools] if chat.tools else None,
                    extra_context=dict(chat.template_arguments) or None,
                )
            )
        except RuntimeError as error:
            # The library lists what it tried; the reason stands behind `Minja's error`.
            reason = str(error).partition("Minja's error: ")[2].partition("\n")[0] or str(error).strip()
            raise InvalidRequest(
                f"the model's chat template refuses the conversation: {reason}; change the messages or their order",
                param="messages",
            ) from error

    def _checked(self, ids: list[int], param: str) -> list[int]:
        # The library does not look, and reads beyond its table.
        for place, token in enumerate(ids):
            if not 0 <= token < self.vocab_size:
                raise InvalidRequest(
                    f"{param}[{place}] = {token} is no token of this model; ids go from 0 to {self.vocab_size - 1}",
                    param=param,
                )
        return ids


def _plain(message: Any, place: int) -> dict[str, Any]:
    """A message whose content is one text: the library would write a list of parts as it stands."""
    plain = dict(message)
    if isinstance(plain.get("content"), list):
        parts = plain["content"]
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
            raise InvalidRequest(
                f"messages[{place}].content has a part that is not text; this model reads text only",
                param=f"messages[{place}].content",
            )
        plain["content"] = "\n".join(part["text"] for part in parts)
    return plain

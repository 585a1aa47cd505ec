"""Prompts as token ids, by the library's own tokenizer and chat template."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from paceline.base.errors import InvalidRequest
from paceline.base.generation import Chat
from paceline.generate.adapters.context import Context

CHARACTERS_INLINE: Final = 4000
"""More text than this is tokenised in a thread: the event loop must not stand still for milliseconds."""


class Prompts:
    """Wraps the library's tokenizer, which is thread-safe."""

    def __init__(self, tokenizer: Any, context_tokens: int) -> None:
        self._tokenizer = tokenizer
        self.context = Context(context_tokens, vocab_size=len(tokenizer.get_vocab()))

    async def tokens(
        self, prompt: str | list[int] | Chat, param: str = "prompt", *, special: bool = True
    ) -> list[int]:
        """Its ids; `special` puts what the model expects at the beginning of a text. Raises InvalidRequest."""
        if isinstance(prompt, list):
            return self.context.checked(prompt, param)  # the library reads beyond its table
        if isinstance(prompt, Chat):
            # The template writes special tokens itself.
            prompt, special = self._rendered(prompt), False
        if len(prompt) <= CHARACTERS_INLINE:
            return self._encoded(prompt, param, special)
        return await asyncio.to_thread(self._encoded, prompt, param, special)

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

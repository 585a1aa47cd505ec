"""What of a model's context a request may use, and which ids are tokens of it."""

from __future__ import annotations

from paceline.base.errors import InvalidRequest, PayloadTooLarge


class Context:
    """A model's limits, checked before its engine sees a request."""

    def __init__(self, tokens: int, *, vocab_size: int) -> None:
        self.tokens = tokens
        """Of prompt and output together."""
        self.vocab_size = vocab_size

    def fitted(self, prompt: list[int], *, max_tokens: int | None, truncate: bool) -> list[int]:
        """The prompt, cut if that was asked for. Raises InvalidRequest when empty, PayloadTooLarge when too long."""
        context = self.tokens
        if not prompt:
            raise InvalidRequest("the prompt has no tokens; send at least one", param="prompt")
        if len(prompt) < context:
            return prompt
        if not truncate:
            raise PayloadTooLarge(
                f"the prompt has {len(prompt)} tokens and the context holds {context}, one at least for the answer; "
                "shorten it, or send truncate = true to keep its end",
                param="prompt",
            )
        return prompt[len(prompt) - max(1, context - (max_tokens or context // 4)) :]

    def room(self, prompt_tokens: int, asked: int | None) -> int:
        """Tokens that may be generated. Raises InvalidRequest for more than that."""
        room = self.tokens - prompt_tokens
        if asked is not None and asked > room:
            raise InvalidRequest(
                f"max_tokens = {asked} and the prompt's {prompt_tokens} tokens are more than the context of "
                f"{self.tokens}; ask for {room} or fewer, or leave max_tokens out",
                param="max_tokens",
            )
        return room if asked is None else asked

    def checked(self, ids: list[int], param: str) -> list[int]:
        """The ids; raises InvalidRequest for the first that is no token."""
        for place, token in enumerate(ids):
            if not 0 <= token < self.vocab_size:
                raise InvalidRequest(
                    f"{param}[{place}] = {token} is no token of this model; ids go from 0 to {self.vocab_size - 1}",
                    param=param,
                )
        return ids

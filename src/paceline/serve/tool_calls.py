"""Tool calls in a model's text, marked as Qwen and Hermes templates teach it: `<tool_call>{json}</tool_call>`."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from paceline.base.generate_replies import RepliedFunction, RepliedToolCall

_BEGIN, _END = "<tool_call>", "</tool_call>"


class _Call(msgspec.Struct, frozen=True):
    """What stands between the marks."""

    name: str
    arguments: dict[str, Any] = {}


_read = msgspec.json.Decoder(_Call).decode
_write = msgspec.json.Encoder().encode


class ToolCalls:
    """Reads the text of one choice piece by piece. What is marked but cannot be read stays text."""

    def __init__(self) -> None:
        self.seen = 0
        """Calls read so far."""
        self._held = ""
        """The beginning of a mark, or of a call whose end has not come."""

    def feed(self, text: str, *, last: bool) -> tuple[str, list[RepliedToolCall]]:
        """The text that is no call, and the calls that became complete; with `last` nothing is held back."""
        if not self._held and "<" not in text:
            return self._told(text), []
        rest, self._held = self._held + text, ""
        plain: list[str] = []
        calls: list[RepliedToolCall] = []
        while True:
            before, begin, inside = rest.partition(_BEGIN)
            if not begin:
                held = 0 if last else _overlap(before)
                plain.append(before[: len(before) - held])
                self._held = before[len(before) - held :]
                break
            marked, end, after = inside.partition(_END)
            if not end and not last:
                plain.append(before)
                self._held = begin + inside
                break
            call = self._call(marked)
            if call is None:
                plain += (before, begin, marked, end)
            else:
                plain.append(before)
                calls.append(call)
            rest = after
            if not end:
                break
        return self._told("".join(plain)), calls

    def _told(self, text: str) -> str:
        """Templates put each call on lines of its own; what is left between calls is no answer."""
        return "" if self.seen and text.isspace() else text

    def _call(self, marked: str) -> RepliedToolCall | None:
        try:
            call = _read(marked.strip())
        except (msgspec.MsgspecError, RecursionError):
            return None
        self.seen += 1
        return RepliedToolCall(
            id=f"call_{secrets.token_hex(12)}",
            type="function",
            function=RepliedFunction(call.name, _write(call.arguments).decode()),
            index=self.seen - 1,
        )


def _overlap(text: str) -> int:
    """Characters at the end of `text` that may be the beginning of a mark."""
    for size in range(min(len(_BEGIN) - 1, len(text)), 0, -1):
        if text.endswith(_BEGIN[:size]):
            return size
    return 0

"""Server-sent events, as far as OpenAI's protocol uses them: the `data` of each event, from bytes cut anywhere."""

from __future__ import annotations

from typing import Final

from paceline.base.errors import EngineError

MAX_EVENT_BYTES: Final = 16 << 20
"""An upstream that sends more without ending an event is not speaking the protocol."""


class EventStream:
    """Collects bytes and gives the payloads that are complete. Lines end with LF or CRLF."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> list[bytes]:
        """The payloads that `received` completes. Raises EngineError when one grows beyond all measure."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        payloads = []
        for line in lines:
            text = line.removesuffix(b"\r")
            if text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))
            elif not text and self._data:
                payloads.append(b"\n".join(self._data))
                self._data.clear()
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise EngineError(
                f"the upstream sent more than {MAX_EVENT_BYTES} bytes without ending an event; is generate.upstream.url "
                "the address of an OpenAI-compatible server?"
            )
        return payloads

    def end(self) -> list[bytes]:
        """The payload that the connection's end completes, if any: some servers leave the last empty line out."""
        return self.feed(b"\n\n")

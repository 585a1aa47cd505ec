"""Collections in another process of this host: HTTP workers share one store, one log, one cache of answers.

What is asked travels as msgpack inside the channel's own, so that a batch of vectors is encoded once. Needs no library of
the vectors' extra.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from paceline.base.errors import EngineError
from paceline.base.vectors_api import ANSWER, VectorService
from paceline.base.vectors_records import Queried, Query
from paceline.flow.channel import Channel

PREFIX: Final = "vectors."
"""Operations of the channel that are ours."""
HEALTH_EVERY_S: Final = 1.0

_encode = msgspec.msgpack.Encoder().encode
_READ_ASKED: Final = {kind.__name__: msgspec.msgpack.Decoder(kind).decode for kind in ANSWER}
_READ_ANSWER: Final = {kind: msgspec.msgpack.Decoder(answer).decode for kind, answer in ANSWER.items()}


class RemoteVectors:
    """The calling end: a `VectorService`. Instants travel as they are: the monotonic clock is one for a host."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._health: dict[str, object] = {"status": "starting"}

    def hit(self, query: Query) -> Queried | None:
        """Nothing: only the other process knows the collection's version, without which no answer is known good."""
        del query
        return None

    async def answer(self, asked: Any, *, deadline_at: float) -> Any:
        """See `VectorService.answer`; EngineError when the other process is not there."""
        kind = type(asked)
        read = _READ_ANSWER.get(kind)
        if read is None:
            raise EngineError(
                f"{kind.__name__} cannot be asked of collections; are all parts of one version?"
            )
        payload = [kind.__name__, _encode(asked), deadline_at]
        return read(await self._channel.call(f"{PREFIX}answer", payload))

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Nothing: the other process counts its own."""
        return {}

    def health(self) -> Mapping[str, object]:
        """What the other process last said, at most a second ago."""
        if not self._channel.connected:
            return {
                "status": "failing",
                "reason": "the engine process does not answer; it is being restarted",
            }
        return self._health

    async def watch(self) -> None:
        """Ask the other process for its health until cancelled."""
        while True:
            try:
                self._health = await self._channel.call(f"{PREFIX}health", None)
            except EngineError as error:
                self._health = {"status": "failing", "reason": error.message}
            await asyncio.sleep(HEALTH_EVERY_S)


class VectorsHost:
    """The answering end: serves a `VectorService` to the workers."""

    def __init__(self, service: VectorService) -> None:
        self._service = service

    async def answer(self, operation: str, payload: Any) -> Any:
        """One call of a `RemoteVectors`; raises what the service raises."""
        match operation.removeprefix(PREFIX):
            case "answer":
                name, body, deadline_at = payload
                read = _READ_ASKED.get(name)
                if read is None:
                    raise EngineError(f"nobody here knows {name!r}; are all processes of one version?")
                return _encode(await self._answer(read(body), deadline_at))
            case "health":
                return dict(self._service.health())
            case _:
                raise EngineError(
                    f"the engine process does not know the call {operation!r}; are all processes of one version?"
                )

    async def _answer(self, asked: Any, deadline_at: float) -> Any:
        if type(asked) is Query:
            found = self._service.hit(asked)
            if found is not None:
                return found
        return await self._service.answer(asked, deadline_at=deadline_at)

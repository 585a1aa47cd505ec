"""A lane in another process of this host: HTTP workers share one engine, one queue and one gate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from paceline.base.errors import EngineError
from paceline.embed.lane import Lane, Row
from paceline.flow.cache.flight import SingleFlight
from paceline.flow.channel import Channel

HEALTH_EVERY_S = 1.0


class RemoteLane:
    """The calling end. Instants travel as they are: the monotonic clock is one for all processes of a host."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._health: dict[str, object] = {"status": "starting"}
        self._watching: asyncio.Task[None] | None = None

    async def admit(self, lengths: Sequence[int], *, priority: int, deadline_at: float) -> None:
        """See `Lane.admit`."""
        await self._channel.call("admit", [list(lengths), priority, deadline_at])

    def check(self, lengths: Sequence[int], *, priority: int, deadline_at: float) -> None:
        """Nothing: only the engine process knows its queue."""

    async def run(self, ids: np.ndarray, *, priority: int, deadline_at: float) -> Row:
        """See `Lane.run`."""
        return Row(
            *await self._channel.call("run", [ids.astype("<i4", copy=False).tobytes(), priority, deadline_at])
        )

    def stats(self) -> dict[str, dict[str, float]]:
        """Nothing: the engine process counts its own."""
        return {}

    def health(self) -> dict[str, object]:
        """What the engine process last said, at most a second ago."""
        if not self._channel.connected:
            return {
                "status": "failing",
                "reason": "the engine process does not answer; it is being restarted",
            }
        return self._health

    async def watch(self) -> None:
        """Ask the engine process for its health until cancelled."""
        while True:
            try:
                self._health = await self._channel.call("health", None)
            except EngineError as error:
                self._health = {"status": "failing", "reason": error.message}
            await asyncio.sleep(HEALTH_EVERY_S)

    async def drain(self) -> None:
        """The engine process drains after its workers have ended."""

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


class LaneHost:
    """The answering end: serves a lane to the workers, and runs a text that several of them ask for once."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._flights: SingleFlight[list[Any]] = SingleFlight()

    async def answer(self, operation: str, payload: Any) -> Any:
        """One call of a `RemoteLane`; raises what the lane raises."""
        match operation:
            case "run":
                ids, priority, deadline_at = payload
                row, _ = await self._flights.run(ids, lambda: self._run(ids, priority, deadline_at))
                return row
            case "admit":
                lengths, priority, deadline_at = payload
                return await self._lane.admit(lengths, priority=priority, deadline_at=deadline_at)
            case "health":
                return self._lane.health()
            case _:
                raise EngineError(
                    f"the engine process does not know the call {operation!r}; are all processes of one version?"
                )

    async def _run(self, ids: bytes, priority: int, deadline_at: float) -> list[Any]:
        row = await self._lane.run(
            np.frombuffer(ids, dtype="<i4"), priority=priority, deadline_at=deadline_at
        )
        return [row.vector, row.queue_s, row.batch_wait_s, row.run_s, row.batch_rows]

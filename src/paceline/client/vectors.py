"""Collections on a server, asked as if they were here: `HttpVectors`."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from paceline.base.clock import Clock, monotonic
from paceline.base.errors import PacelineError, StorageError, Unreachable
from paceline.base.vectors_records import Queried, Query
from paceline.client.asynchronous import AsyncClient


class HttpVectors:
    """A `VectorService` over HTTP, on one event loop; `Search` is answered too. Closing it closes its client."""

    def __init__(self, client: AsyncClient, clock: Clock = monotonic) -> None:
        self._client = client
        self._clock = clock
        self._asked = 0
        self._failed = 0
        self._trouble = ""
        """Why the last exchange failed, if the reason lies with the server."""

    def hit(self, _query: Query) -> Queried | None:
        """Nothing: what the server keeps in memory is a message away."""
        return None

    async def answer(self, asked: Any, *, deadline_at: float) -> Any:
        """What the server answers; any PacelineError of its own, DeadlineExceeded or Unreachable of ours."""
        self._asked += 1
        try:
            answer = await self._client.ask(asked, timeout_s=deadline_at - self._clock())
        except PacelineError as error:
            self._failed += 1
            self._trouble = error.message if isinstance(error, (Unreachable, StorageError)) else ""
            raise
        self._trouble = ""
        return answer

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Exchanges, and how many of them failed after all tries."""
        return {"http": {"asked": self._asked, "failed": self._failed}}

    def health(self) -> Mapping[str, object]:
        """As the last exchange found it."""
        state = {"status": "failing" if self._trouble else "ok", "url": self._client.url}
        return {**state, "trouble": self._trouble} if self._trouble else state

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

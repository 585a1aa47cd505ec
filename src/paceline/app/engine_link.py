"""How a worker reaches the engine process."""

from __future__ import annotations

import asyncio
from typing import Final

from paceline.flow.channel import Channel
from paceline.flow.quota import Grant

SOCKET: Final = "engine.sock"
"""In the folder that the processes of one server share."""
LEDGER_S: Final = 1.0
"""A ledger that is slower counts as away; the limiter then grants each worker its share."""


class ChannelLedger:
    """The engine process's ledger, for the limiter of one worker."""

    def __init__(self, channel: Channel, peers: int) -> None:
        self.peers = peers
        self._channel = channel

    async def lease(self, window_key: str, limit: int, want: int, window_s: int) -> Grant:
        """See `Ledger.lease`."""
        async with asyncio.timeout(LEDGER_S):
            return Grant(*await self._channel.call("lease", [window_key, limit, want, window_s]))

    async def give_back(self, window_key: str, window: int, count: int, window_s: int) -> None:
        """See `Ledger.give_back`."""
        async with asyncio.timeout(LEDGER_S):
            await self._channel.call("give_back", [window_key, window, count, window_s])

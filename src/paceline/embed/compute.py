"""What happens to texts that no cache holds: admitted as a whole, tokenised, run, and packed for the cache."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Final

from paceline.base.api import EmbedRequest, Priority
from paceline.base.clock import Clock, monotonic
from paceline.base.timings import Tier, Timings
from paceline.embed.lane import Lane, Row
from paceline.embed.tokens import Ids, Tokens

Text = str | list[int]
"""What is embedded: a text, or token ids that the caller made."""

VALUE_HEADER: Final = struct.Struct("<IB3x")
"""Cached value: tokens (u32), truncated (u8), padding to 8 bytes, then the vector as little-endian float32."""

PRIORITIES: Final[dict[Priority, int]] = {"high": 0, "normal": 1, "low": 2}
_SLOWNESS: Final[dict[Tier, int]] = {"l1": 0, "l2": 1, "l3": 2, "flight": 3, "bypass": 4, "miss": 5}

_CHARACTERS_INLINE = 8192
"""More text than this is tokenised in a thread: the event loop must not stand still for milliseconds."""


class Compute:
    """Turns texts into cache values on a lane."""

    def __init__(self, tokens: Tokens, lane: Lane, clock: Clock = monotonic) -> None:
        self.tokens = tokens
        self.lane = lane
        self.clock = clock
        self._characters_per_token = 4.0

    def begin(self, request: EmbedRequest, texts: list[Text], missing: list[int], deadline_at: float) -> Work:
        """Start on a request of which the texts at `missing` are in no memory cache."""
        return Work(self, request, texts, missing, deadline_at)

    def check(self, texts: list[Text], priority: Priority, deadline_at: float) -> None:
        """Raise what `Work.make` of these texts would be refused with now, where that is known without waiting."""
        lengths = [self.estimate(text) for text in texts]
        self.lane.check(lengths, priority=PRIORITIES[priority], deadline_at=deadline_at)

    def estimate(self, text: Text) -> int:
        """Tokens by the learned characters-per-token ratio; admission must not cost a tokenisation."""
        tokens = int(len(text) / self._characters_per_token) + 2 if isinstance(text, str) else len(text)
        return max(1, min(tokens, self.tokens.max_tokens))

    async def encode(self, texts: list[Text], positions: Sequence[int], *, truncate: bool) -> list[Ids]:
        """Token ids of each text; raises InvalidRequest or PayloadTooLarge naming `input[position]`."""
        characters = sum(map(len, texts))
        if characters <= _CHARACTERS_INLINE:
            encoded = self.tokens.encode(texts, positions=positions, truncate=truncate)
        else:
            encoded = await asyncio.to_thread(
                self.tokens.encode, texts, positions=positions, truncate=truncate
            )
        if texts and isinstance(texts[0], str) and not any(ids.truncated for ids in encoded):
            ratio = characters / sum(len(ids.ids) for ids in encoded)
            self._characters_per_token += 0.05 * (ratio - self._characters_per_token)
        return encoded


class Work:
    """One request on its way: admitted and tokenised once, however many of its texts must be computed."""

    def __init__(
        self,
        compute: Compute,
        request: EmbedRequest,
        texts: list[Text],
        missing: list[int],
        deadline_at: float,
    ) -> None:
        self._compute = compute
        self._texts = texts
        self._missing = missing
        self._truncate = request.truncate
        self._priority = PRIORITIES[request.priority]
        self._deadline_at = deadline_at
        self._preparing: asyncio.Task[dict[int, Ids]] | None = None
        self.timings = Timings(cache="l1")

    def saw(self, tier: Tier) -> None:
        """Remember the slowest tier that answered a text."""
        if _SLOWNESS[tier] > _SLOWNESS[self.timings.cache]:
            self.timings.cache = tier

    async def make(self, index: int) -> tuple[bytes, float]:
        """Compute one text: (cache value, seconds of compute it cost)."""
        encoded = (await self._prepared())[index]
        row = await self._compute.lane.run(
            encoded.ids, priority=self._priority, deadline_at=self._deadline_at
        )
        self._took(row)
        return VALUE_HEADER.pack(len(encoded.ids), encoded.truncated) + row.vector, row.run_s / row.batch_rows

    async def _prepared(self) -> dict[int, Ids]:
        if len(self._missing) == 1:
            return await self._prepare()
        # A task of its own: the flight that came first may be cancelled while others still want the tokens.
        if self._preparing is None:
            self._preparing = asyncio.ensure_future(self._prepare())
        return await asyncio.shield(self._preparing)

    async def _prepare(self) -> dict[int, Ids]:
        """Admit the texts as a whole, by estimated length, and only then spend time on their tokens."""
        compute = self._compute
        texts = [self._texts[index] for index in self._missing]
        await compute.lane.admit(
            [compute.estimate(text) for text in texts], priority=self._priority, deadline_at=self._deadline_at
        )
        started_at = compute.clock()
        encoded = await compute.encode(texts, self._missing, truncate=self._truncate)
        self.timings.tokenize_s = compute.clock() - started_at
        return dict(zip(self._missing, encoded, strict=True))

    def _took(self, row: Row) -> None:
        timings = self.timings
        if row.queue_s + row.run_s >= timings.queue_s + timings.run_s:
            timings.queue_s = row.queue_s
            timings.batch_wait_s = row.batch_wait_s
            timings.run_s = row.run_s
            timings.batch_rows = row.batch_rows

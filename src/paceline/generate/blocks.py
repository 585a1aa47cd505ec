"""Blocks of keys and values: who holds them, which prompts they spell, which go first when room is needed.

A block is in exactly one state: free (nobody holds it, it spells nothing), held (by one sequence or more), or idle
(nobody holds it, but it spells a known piece of text and serves the next prompt that begins with it). Room is taken
from the free ones first and then from the idle ones, the longest unused first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import xxhash

from paceline.generate.runner import BLOCK_TOKENS

Key = bytes
"""Names a full block by its tokens and all tokens before it."""

ROOT: Key = b""
"""What stands before the first block."""


def key_of(parent: Key, tokens: bytes) -> Key:
    """The key of a block with these tokens (int32, little-endian) behind `parent`."""
    return xxhash.xxh3_128_digest(parent + tokens)


def keys_of(tokens: np.ndarray, parent: Key = ROOT) -> list[Key]:
    """The keys of all full blocks of a text, in order."""
    raw = tokens.tobytes()
    keys = []
    for start in range(0, len(tokens) // BLOCK_TOKENS * BLOCK_TOKENS * 4, BLOCK_TOKENS * 4):
        parent = key_of(parent, raw[start : start + BLOCK_TOKENS * 4])
        keys.append(parent)
    return keys


class BlockPool:
    """Hands out the blocks 0 to `total` - 1. Belongs to the engine's thread; `spelled` may be asked from any."""

    def __init__(self, total: int, *, reuse: bool = True) -> None:
        """`reuse` False: no block outlives its sequence."""
        self.total = total
        self.reuse = reuse
        self._free = list(range(total - 1, -1, -1))
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._holders = [0] * total
        self._key: list[Key | None] = [None] * total
        self._tokens: list[bytes] = [b""] * total
        self._block_of: dict[Key, int] = {}
        self.reused_blocks_total = 0
        self.evicted_blocks_total = 0

    # -- questions --------------------------------------------------------------------------------------------

    @property
    def available(self) -> int:
        """Blocks that `take` could give now."""
        return len(self._free) + len(self._idle)

    @property
    def idle(self) -> int:
        """Blocks nobody holds whose content may serve again."""
        return len(self._idle)

    @property
    def held(self) -> int:
        """Blocks that sequences hold."""
        return self.total - self.available

    def spelled(self, keys: Sequence[Key], tokens: np.ndarray) -> list[int]:
        """The blocks that spell the longest known beginning of a text; keys may collide, tokens do not."""
        found: list[int] = []
        for index, key in enumerate(keys):
            block = self._block_of.get(key)
            if block is None:
                break
            if self._tokens[block] != tokens[index * BLOCK_TOKENS : (index + 1) * BLOCK_TOKENS].tobytes():
                break
            found.append(block)
        return found

    def idle_among(self, blocks: Sequence[int]) -> int:
        """How many of `blocks` count as available now and would not any more once held."""
        return sum(not self._holders[block] for block in blocks)

    def check(self) -> None:
        """Assert that every block is in exactly one state."""
        held = sum(count > 0 for count in self._holders)
        assert held + len(self._free) + len(self._idle) == self.total
        assert all(self._key[block] is not None and not self._holders[block] for block in self._idle)
        assert all(self._key[block] is None and not self._holders[block] for block in self._free)
        assert all(self._block_of[key] == block for block, key in enumerate(self._key) if key is not None)

    # -- commands ---------------------------------------------------------------------------------------------

    def hold(self, blocks: Sequence[int]) -> None:
        """One more holder for each of `blocks`, which spell something known."""
        for block in blocks:
            if not self._holders[block]:
                del self._idle[block]
            self._holders[block] += 1
        self.reused_blocks_total += len(blocks)

    def take(self) -> int:
        """A block of one's own; ask `available` first."""
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._idle.popitem(last=False)
            self._forget(block)
            self.evicted_blocks_total += 1
        assert not self._holders[block]
        self._holders[block] = 1
        return block

    def publish(self, block: int, key: Key, tokens: bytes) -> None:
        """A held block spells these tokens behind what its key says: others may share it from now on."""
        if not self.reuse or self._key[block] is not None or key in self._block_of:
            return
        self._key[block] = key
        self._tokens[block] = tokens
        self._block_of[key] = block

    def retract(self, block: int) -> None:
        """A published block does not hold what it spells after all: its step failed."""
        if self._key[block] is None:
            return
        self._forget(block)
        if block in self._idle:
            del self._idle[block]
            self._free.append(block)

    def release(self, table: Sequence[int]) -> None:
        """Give back a sequence's blocks; its end is forgotten before its beginning, which more prompts share."""
        for block in reversed(table):
            self._holders[block] -= 1
            assert self._holders[block] >= 0
            if self._holders[block]:
                continue
            if self._key[block] is None:
                self._free.append(block)
            else:
                self._idle[block] = None

    def forget_idle(self) -> None:
        """Empty the prefix cache; what sequences hold stays."""
        for block in self._idle:
            self._forget(block)
            self._free.append(block)
        self._idle.clear()

    def _forget(self, block: int) -> None:
        key = self._key[block]
        assert key is not None
        del self._block_of[key]
        self._key[block] = None
        self._tokens[block] = b""

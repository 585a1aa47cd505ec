"""How many blocks of keys and values fit into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psutil

from paceline.base.errors import ConfigError
from paceline.generate.config import ModelConfig
from paceline.generate.memory_formula import kv_block_bytes
from paceline.generate.runner import BLOCK_TOKENS

_CGROUP: Final = Path("/sys/fs/cgroup")


def kv_blocks(
    config: ModelConfig, kv_precision: str, budget_bytes: int, *, max_sequences: int, required: bool
) -> int:
    """Blocks that `budget_bytes` hold, but no more than `max_sequences` texts of full context use.

    With `required` one text of full context must fit; otherwise what fits bounds the context. Raises ConfigError with
    both sizes.
    """
    block = kv_block_bytes(config, kv_precision)
    full = -(-config.max_positions // BLOCK_TOKENS)
    # Two more per text than its context: a step may guess ahead.
    blocks = min(max(0, budget_bytes) // block, (full + 2) * max_sequences)
    least = full if required else 1
    if blocks < least:
        raise ConfigError(
            f"{max(0, budget_bytes)} bytes for keys and values hold {blocks * BLOCK_TOKENS} tokens, a text of "
            f"{least * BLOCK_TOKENS} tokens needs {least * block} bytes; raise generate.kv.max_bytes, lower "
            "generate.context_tokens, or set generate.kv.precision = int8",
            param="generate.kv.max_bytes",
        )
    return blocks


def available_memory(cgroup: Path = _CGROUP) -> int:
    """Bytes that this process can still take: the machine's, or its container's if that is less."""
    available = int(psutil.virtual_memory().available)
    try:
        limit, used = ((cgroup / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except OSError:  # no cgroup of version 2, or not ours to read
        return available
    if limit == "max":
        return available
    # Pages of files count as used, but are given up when memory is wanted.
    return max(0, min(available, int(limit) - int(used) + int(statistics.get("inactive_file", 0))))

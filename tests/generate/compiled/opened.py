"""Compiled runners of tiny models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paceline.generate.checkpoint import Checkpoint
from paceline.generate.compiled.runner import CompiledRunner

PAIRS = [("fp32", "fp32"), ("int8", "bf16"), ("bf16", "int8")]
"""Precisions of weights and of keys and values: each of both once, since a pair takes seconds to compile."""


@contextmanager
def opened(folder: Path, state_dir: Path, pair: tuple[str, str], **changes: Any) -> Iterator[CompiledRunner]:
    """A runner, closed at the end."""
    precision, kv_precision = pair
    settings = {"blocks": 32, "threads": 2} | changes
    runner = CompiledRunner(
        Checkpoint.open(folder),
        precision=precision,
        kv_precision=kv_precision,
        state_dir=state_dir,
        **settings,
    )
    try:
        yield runner
    finally:
        runner.close()

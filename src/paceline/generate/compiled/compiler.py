"""The step compiled for one precision of weights and of keys and values, kept on disk for the next start."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numba
import numpy as np

from paceline.generate.compiled import step
from paceline.generate.compiled.crew import OPTIONS
from paceline.generate.compiled.rows import BF16, FLOAT, INT8

Work = Callable[..., int]

KINDS: dict[str, np.generic] = {"int8": INT8, "bf16": BF16, "fp32": FLOAT}
"""The number whose type chooses a precision in compiled code."""


def compiled_work(state_dir: Path) -> Work:
    """`step.work`, compiled when first called with a pair of precisions (10 seconds) or read from `state_dir`."""
    # The compiler's own check looks at the file of this one function, not at those that it calls: so the folder's name
    # is a digest of all of them. Where the folder cannot be written, each process compiles for itself.
    folder = state_dir / "generate" / f"compiled-{_sources_digest()}"
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        return cast("Work", numba.njit(cache=True, **OPTIONS)(step.work))
    except RuntimeError:
        return cast("Work", numba.njit(**OPTIONS)(step.work))
    finally:
        config.CACHE_DIR = before


def _sources_digest() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def kind_of(precision: str) -> Any:
    """See `KINDS`."""
    return KINDS[precision]

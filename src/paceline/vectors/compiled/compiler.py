"""How the functions are compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

# Without `_nrt` arrays are not counted: every access to one is an atomic addition otherwise. In return nothing is
# allocated inside; the caller brings all memory.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}


def compiled(function: F) -> F:
    """Compile `function` into those that call it; lets other threads run, and divides as numpy does."""
    return cast("F", numba.njit(forceinline=True, **_OPTIONS)(function))


def called(function: F) -> F:
    """Compile `function` once, to be called: large, and used in many places."""
    return cast("F", numba.njit(**_OPTIONS)(function))


def kept(function: F) -> F:
    """Compile `function` and keep the result on disk, where any folder for it can be written.

    It must be a closure over `sources_digest()`.
    """
    try:
        return cast("F", numba.njit(cache=True, **_OPTIONS)(function))
    except (
        RuntimeError
    ):  # neither beside the sources nor in the user's cache: each process compiles for itself
        return cast("F", numba.njit(**_OPTIONS)(function))


def sources_digest() -> int:
    """A number that changes with any file of this folder.

    The compiler's cache looks at the file of the function that is called and at what it closes over, not at what that
    function calls.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "little")

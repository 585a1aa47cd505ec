"""`/health`, `/health/live` and `/health/ready`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from paceline import __version__
from paceline.serve.entrance import Entrance

Part = Callable[[], Mapping[str, Any]]
"""State of one part of the server; the key `status` is `ok`, `degraded`, `failing` or `starting`."""


class Health:
    """What the parts say of themselves, together."""

    def __init__(self, entrance: Entrance, engines: Mapping[str, Part], parts: Mapping[str, Part]) -> None:
        self._entrance = entrance
        self._engines = engines
        self._parts = parts
        self._started_at = time.monotonic()

    def report(self) -> dict[str, Any]:
        """The body of `/health`."""
        engines = {name: dict(part()) for name, part in self._engines.items()}
        parts = {name: dict(part()) for name, part in self._parts.items()}
        ailing = any(state.get("status", "ok") != "ok" for state in [*engines.values(), *parts.values()])
        state = self._not_ready(engines) or ("degraded" if ailing else "ok")
        return {
            "status": state,
            "version": __version__,
            "uptime_s": round(time.monotonic() - self._started_at, 3),
            "engines": engines,
            **parts,
        }

    def ready(self) -> tuple[bool, str]:
        """Whether new callers should come here, and the state in one word."""
        reason = self._not_ready({name: part() for name, part in self._engines.items()})
        return not reason, reason or "ready"

    def _not_ready(self, engines: Mapping[str, Mapping[str, Any]]) -> str:
        if self._entrance.draining:
            return "draining"
        if not self._entrance.started or any(state.get("status") == "starting" for state in engines.values()):
            return "starting"
        return ""

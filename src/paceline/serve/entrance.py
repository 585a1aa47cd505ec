"""What every route shares: who may come in, how often, and whether the house is open."""

from __future__ import annotations

from paceline.flow.limiter import Limiter
from paceline.serve.access_log import AccessLog
from paceline.serve.auth import Tokens
from paceline.serve.policy import CompressionPolicy, ServePolicy


class Entrance:
    """State of the HTTP side of one process. The policies may be replaced while it runs."""

    def __init__(
        self,
        *,
        tokens: Tokens,
        limiter: Limiter | None,
        policy: ServePolicy,
        compression: CompressionPolicy,
        access_log: AccessLog | None = None,
    ) -> None:
        self.tokens = tokens
        self.limiter = limiter
        self.policy = policy
        self.compression = compression
        self.access_log = access_log
        self.started = False
        """Whether start-up is over; until then `/health/ready` says no."""
        self.draining = False
        """Whether the server is about to stop: not ready for new callers, replies close their connections."""

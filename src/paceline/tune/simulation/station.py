"""One setting of a server, as far as the simulation knows servers."""

from __future__ import annotations

import msgspec

from paceline.base.errors import ConfigError
from paceline.flow.batch_queue import BatchPolicy
from paceline.flow.cache.policy import L1Policy
from paceline.flow.gate import GatePolicy
from paceline.flow.limiter import LimitPolicy
from paceline.flow.run_time import DEFAULT_PRIOR, Coefficients


class Station(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a request meets: limiter, memory cache, gate, queue, and `lanes` engines.

    Raises ConfigError where `batch.max_cost` or `batch.bucket` is still 0 (the server takes the measured layout's),
    and for values that no server has.
    """

    batch: BatchPolicy
    gate: GatePolicy = GatePolicy()
    cache: L1Policy | None = None
    """None: nothing is cached and equal texts do not share a run. `enabled=False` keeps nothing, but shares."""
    ttl_s: float = 86400.0
    value_bytes: int = 1544
    """Bytes of one cached answer; 384 floats and their header."""
    limits: LimitPolicy | None = None
    """The whole trace counts as one caller."""
    lanes: int = 1
    prior: Coefficients = DEFAULT_PRIOR
    """What the queue believes of run times before it saw one."""

    def __post_init__(self) -> None:
        batch = self.batch
        if batch.max_cost < 1 or batch.bucket < 1:
            raise ConfigError(
                f"max_cost {batch.max_cost} and bucket {batch.bucket} must be resolved to at least 1 for a simulation; "
                "give the values of the measured layout",
                param="batch.max_cost" if batch.max_cost < 1 else "batch.bucket",
            )
        if self.lanes < 1:
            raise ConfigError(f"{self.lanes} lanes run nothing; give at least 1", param="lanes")
        if min(self.prior) < 0 or sum(self.prior) <= 0:
            raise ConfigError(f"prior {self.prior} must be 0 or more and not all zero", param="prior")
        if self.value_bytes < 0 or not self.ttl_s > 0:
            raise ConfigError(
                f"a cached answer of {self.value_bytes} bytes for {self.ttl_s} s cannot be; give 0 bytes or more and "
                "a time above 0",
                param="value_bytes" if self.value_bytes < 0 else "ttl_s",
            )

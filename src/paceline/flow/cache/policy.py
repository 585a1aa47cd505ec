"""Settings of the cache tiers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from paceline.base.knob import knob

TtlClass = Literal["hot", "warm", "result"]


class L1Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Memory tier, per worker process."""

    enabled: Annotated[bool, knob("Keep results in memory.")] = True
    max_bytes: Annotated[
        int,
        knob(
            "Memory for results. Less than before makes the least worthy leave at once.",
            ge=4096,
            le=1 << 40,
            unit="bytes",
            live=True,
            tune=True,
            cost="memory",
            grid=(1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20),
        ),
    ] = 64 << 20
    eviction: Annotated[
        Literal["cost", "lru"],
        knob(
            "`cost` keeps what saves most compute per byte, `lru` what was used last. Another one starts empty.",
            live=True,
            tune=True,
            grid=("cost", "lru"),
        ),
    ] = "cost"


class L2Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Disk tier, shared by the worker processes of one host and kept over restarts."""

    enabled: Annotated[bool, knob("Keep results on disk.")] = False
    path: Annotated[str, knob("Folder of the disk tier; empty takes `<state dir>/cache`.")] = ""
    max_bytes: Annotated[
        int, knob("Disk for results, both files together.", ge=1 << 20, le=1 << 44, unit="bytes")
    ] = 1 << 30


class L3Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Redis tier, shared by hosts."""

    enabled: Annotated[bool, knob("Keep results in Redis.")] = False
    budget_ms: Annotated[
        float,
        knob("Longest a look-up may take before the tier is skipped.", gt=0, le=10_000, unit="ms", live=True),
    ] = 5.0


class TtlPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long results are good, by class."""

    hot_s: Annotated[float, knob("Time to live of class `hot`.", gt=0, unit="s", live=True)] = 3600.0
    warm_s: Annotated[float, knob("Time to live of class `warm`.", gt=0, unit="s", live=True)] = 86400.0
    result_s: Annotated[float, knob("Time to live of class `result`.", gt=0, unit="s", live=True)] = 43200.0
    stale_s: Annotated[
        float,
        knob(
            "After its time a result is still served this long while it is made anew behind the caller.",
            ge=0,
            unit="s",
            live=True,
        ),
    ] = 0.0

    def of(self, name: TtlClass) -> float:
        """Seconds a result of class `name` is good."""
        return {"hot": self.hot_s, "warm": self.warm_s, "result": self.result_s}[name]


class CachePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tiers exist and what is kept in them."""

    enabled: Annotated[bool, knob("Cache results at all.")] = True
    ttl_class: Annotated[TtlClass, knob("Class of embedding results.")] = "warm"
    normalize: Annotated[
        Literal["none", "space", "space+case"],
        knob(
            "What of a text does not matter: `space` folds white space, `space+case` letter case too. "
            "The model then sees the folded text, so hit and miss agree.",
            tune=True,
            quality=True,
            grid=("none", "space", "space+case"),
        ),
    ] = "none"
    l1: L1Policy = L1Policy()
    l2: L2Policy = L2Policy()
    l3: L3Policy = L3Policy()
    ttl: TtlPolicy = TtlPolicy()

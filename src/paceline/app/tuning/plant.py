"""What the simulator must know of a running Paceline: its knobs, and its station as it is set and laid out now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from paceline.app.tuning.admin import Admin
from paceline.base.errors import ConfigError
from paceline.flow.batch_queue import BatchPolicy
from paceline.flow.cache.policy import L1Policy
from paceline.flow.gate import GatePolicy
from paceline.tune.knob import Knob
from paceline.tune.setting import Value
from paceline.tune.simulation.station import Station

SERVICE_OF_TASK: Final = {
    "embeddings": "embed",
    "completions": "generate",
    "chat": "generate",
    "vectors": "vectors",
}
"""Group of settings of the service that answers a task."""
_WITHOUT_CACHE: Final = {"vectors"}
"""Searched live, where there are no runs to spare for a cache that a load without repetitions does not use."""
HEADER_BYTES: Final = 8
FLOAT_BYTES: Final = 4

Told = Mapping[str, Mapping[str, Any]]
"""`/admin/settings` by name."""


def service_of(task: str, told: Told) -> str:
    """The group of settings of what answers this task; empty when the server has none for it."""
    service = SERVICE_OF_TASK.get(task, "")
    return service if service and any(name.startswith(f"{service}.") for name in told) else ""


def live_knobs(told: Told, names: Sequence[str], service: str) -> list[Knob]:
    """Those that the tuner may turn on the running server: the named ones, or every one that is meant for tuning.

    Raises ConfigError for a name that is no setting, or one that cannot be turned while the server runs.
    """
    for name in names:
        if name not in told:
            near = get_close_matches(name, told, n=1)
            hint = f"did you mean {near[0]}?" if near else "`paceline knobs` lists them"
            raise ConfigError(f"--knob {name}: no such setting; {hint}", param="knob")
        if not told[name]["live"]:
            raise ConfigError(
                f"--knob {name}: takes effect at a start only; tune it with --launch, or leave it out",
                param="knob",
            )
        if not told[name]["grid"]:
            raise ConfigError(
                f"--knob {name}: there is no list of values to try; `paceline knobs` shows those that have",
                param="knob",
            )
    groups: tuple[str, ...] = ("",)
    if service:
        groups = (f"{service}.",) if service in _WITHOUT_CACHE else (f"{service}.", "cache.")
    chosen = names or [
        name for name, one in told.items() if one["tune"] and one["live"] and name.startswith(groups)
    ]
    return [_knob(name, told[name]) for name in chosen]


def _knob(name: str, one: Mapping[str, Any]) -> Knob:
    return Knob(
        name=name,
        baseline=one["value"],
        values=tuple(one["grid"]),
        quality=one["quality"],
        live=one["live"],
        unit=one["unit"],
        cost=one["cost"],
    )


def station_of(admin: Admin, told: Told, service: str) -> Station | None:
    """The service as the simulator sees it; None when it cannot be simulated, as what has no queue of batches."""
    if f"{service}.batch.max_size" not in told:
        return None
    engines = admin.health().get("engines", {})
    layouts = [one["engine"] for one in engines.values() if "streams" in one.get("engine", {})]
    if len(layouts) != 1 or not service:
        return None
    layout = layouts[0]
    batch = _policy(told, f"{service}.batch", BatchPolicy)
    batch = msgspec.structs.replace(
        batch, max_cost=batch.max_cost or layout["max_cost"], bucket=batch.bucket or layout["bucket"]
    )
    cached = told["cache.enabled"]["value"]
    cache = _policy(told, "cache.l1", L1Policy)
    dimensions = int(layout.get("dimensions", 384))
    return Station(
        batch=batch,
        gate=_policy(told, f"{service}.gate", GatePolicy),
        cache=cache if cached else None,
        value_bytes=HEADER_BYTES + FLOAT_BYTES * dimensions,
        lanes=int(layout["streams"]),
    )


def _policy(told: Told, group: str, kind: Any) -> Any:
    """A policy struct from the values of its group."""
    names = [field.name for field in msgspec.structs.fields(kind)]
    values: dict[str, Value] = {
        name: told[f"{group}.{name}"]["value"] for name in names if f"{group}.{name}" in told
    }
    return msgspec.convert(values, kind)

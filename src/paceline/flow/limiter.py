"""Rate limits per minute and per hour, per key and per endpoint."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from paceline.base.knob import knob


class EndpointLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one endpoint or token; 0 means no limit."""

    rpm: Annotated[int, knob("Requests per minute and key; 0 is no limit.", ge=0, le=100_000_000, unit="requests/min", live=True)] = 0
    rph: Annotated[int, knob("Requests per hour and key; 0 is no limit.", ge=0, le=1_000_000_000, unit="requests/h", live=True)] = 0


class LimitPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many requests a caller may make."""

    rpm: Annotated[int, knob("Requests per minute and key; 0 is no limit.", ge=0, le=100_000_000, unit="requests/min", live=True)] = 0
    rph: Annotated[int, knob("Requests per hour and key; 0 is no limit.", ge=0, le=1_000_000_000, unit="requests/h", live=True)] = 0
    endpoints: Annotated[
        dict[str, EndpointLimit], knob("Limits of single endpoints, by path; each replaces the general ones.")
    ] = {}
    tokens: Annotated[
        dict[str, EndpointLimit], knob("Limits of single bearer tokens, by token name; each replaces the others.")
    ] = {}
    backend: Annotated[
        Literal["local", "redis"],
        knob("`local` counts on this host (all its worker processes together), `redis` over all hosts."),
    ] = "local"
    lease_share: Annotated[
        float,
        knob(
            "Largest part of what is left of a shared quota that one process may lease at a time; "
            "the sum of leases never exceeds the limit.",
            gt=0,
            le=1,
        ),
    ] = 0.1

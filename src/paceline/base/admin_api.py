"""Wire structs of `/admin`: what is asked about the settings of a running server, and what it answers."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

LeaseSeconds = Annotated[
    float,
    Meta(ge=0.5, le=3600, description="Seconds until the settings go back unless the lease is renewed."),
]


class SettingsChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `PATCH /admin/settings`."""

    changes: Annotated[
        dict[str, Any], Meta(description="New values by dotted name; all take effect, or none.")
    ]
    lease_s: (
        Annotated[
            LeaseSeconds,
            Meta(description="Change on trial: everything goes back unless renewed in this time."),
        ]
        | None
    ) = None
    lease: Annotated[str | None, Meta(description="Id of the trial that these changes belong to.")] = None


class LeaseRenewal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /admin/settings/lease/{id}`."""

    lease_s: LeaseSeconds


class LeaseState(msgspec.Struct, frozen=True):
    """A trial under way."""

    id: str
    expires_in_s: float
    holder: str
    """Who began it."""


class SettingState(msgspec.Struct, frozen=True):
    """One setting of a running server."""

    name: str
    value: Any
    """`***` for a secret."""
    default: Any
    type: str
    live: bool
    tune: bool
    quality: bool
    unit: str | None
    range: str
    grid: list[Any]
    cost: str


class SettingsState(msgspec.Struct, frozen=True):
    """Body of the reply to `GET /admin/settings`."""

    version: int
    """Counts the changes since the start."""
    lease: LeaseState | None
    settings: list[SettingState]


class OldNew(msgspec.Struct, frozen=True):
    """The two values of a setting that was changed; None where an entry of a table is not there."""

    old: Any
    new: Any


class SettingsChanged(msgspec.Struct, frozen=True):
    """Body of the reply to whatever changes settings or a lease."""

    version: int
    changed: dict[str, OldNew]
    lease: LeaseState | None


class StepTimes(msgspec.Struct, frozen=True):
    """A step's seconds as fitted: fixed, and per prompt token, decoding sequence and context token."""

    fixed_s: float
    prompt_token_s: float
    decoding_s: float
    context_token_s: float


class Steps(msgspec.Struct, frozen=True):
    """Body of the reply to `GET /admin/steps`."""

    next: int
    """Number to give as `since` next time."""
    time: StepTimes | None
    """None where nothing generates."""
    steps: list[tuple[float, int, int, int, float, float]]
    """started_at (s, monotonic), prompt_tokens, decoding (sequences), context_tokens, run_s (of the model), step_s."""


class Batches(msgspec.Struct, frozen=True):
    """Body of the reply to `GET /admin/batches`."""

    next: int
    """Number to give as `since` next time."""
    batches: list[tuple[float, int, int, int, int, float, float]]
    """started_at (s, monotonic), rows, length (padded tokens of a row), tokens, busy (batches running at the start, itself
    included), wait_s (an engine stood idle for it), run_s; in the order in which they ended."""

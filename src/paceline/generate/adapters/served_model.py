"""The one model that a generator serves."""

from __future__ import annotations

from paceline.base.errors import NotFound


def must_be_served(asked: str | None, name: str) -> None:
    """Raise NotFound when a request names a model that is not `name`."""
    if asked is not None and asked != name:
        raise NotFound(
            f"model {asked!r} is not served here; this server has {name!r} (see /v1/models)", param="model"
        )

"""Settings of the generator that is another server."""

from __future__ import annotations

from typing import Annotated

import msgspec

from paceline.base.knob import knob
from paceline.flow.retry import RetryPolicy


class UpstreamPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An OpenAI-compatible server that answers for us (generate.engine = upstream)."""

    url: Annotated[
        str,
        knob(
            "Its address as OpenAI's clients take it, e.g. https://api.openai.com/v1; without a path /v1 is added.",
            pattern=r"^(https?://.+)?$",
        ),
    ] = ""
    key: Annotated[str, knob("Bearer token sent to it; empty sends none.", secret=True)] = ""
    model: Annotated[str, knob("Model id asked of it; empty takes generate.name.")] = ""
    timeout_s: Annotated[
        float, knob("Time without a byte from it after which a request fails.", gt=0, le=86_400, unit="s")
    ] = 120.0
    connections: Annotated[
        int, knob("Requests under way there at the same time at most.", ge=1, le=100_000, unit="connections")
    ] = 256
    retry: RetryPolicy = RetryPolicy()

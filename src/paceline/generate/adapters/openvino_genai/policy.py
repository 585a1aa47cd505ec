"""Settings of the engine openvino-genai."""

from __future__ import annotations

from typing import Annotated

import msgspec

from paceline.base.knob import knob


class OpenVinoGenaiPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How openvino-genai schedules, when it is the engine."""

    threads: Annotated[
        int, knob("Threads that compute; 0 takes all cores of this process.", ge=0, le=4096, unit="threads")
    ] = 0
    max_sequences: Annotated[
        int, knob("Sequences that run at the same time at most.", ge=1, le=65_536, unit="sequences")
    ] = 256
    max_waiting: Annotated[
        int,
        knob(
            "Sequences beyond these that wait at most; more are refused.",
            ge=1,
            le=1_000_000,
            unit="sequences",
        ),
    ] = 1024
    batch_tokens: Annotated[
        int,
        knob(
            "Tokens computed in one step at most; longer prompts take several.",
            ge=16,
            le=1_048_576,
            unit="tokens",
        ),
    ] = 256
    cache_gb: Annotated[
        int,
        knob(
            "Memory for keys and values. 0 lets it grow with the load; with a bound the library gives sequences up "
            "when a prompt does not fit.",
            ge=0,
            le=65_536,
            unit="GB",
        ),
    ] = 0
    reuse_prefixes: Annotated[
        bool,
        knob("Keep the keys and values of prompts for others that begin alike; scores need it switched off."),
    ] = True

"""What one run does: whom it asks, what, how often, for how long, and what would make it fail.

Everything is decided here before the first request is sent; the generator only carries it out. Durations are
seconds, rates are requests per second.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Task = Literal["http", "embeddings", "completions", "chat", "vectors"]


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stretch of the load: from `start` to `target` in a straight line over `duration_s`.

    Rate per second in an open loop, users in a closed one. Without `start` it begins at the stage's own target
    (a step), as a constant stretch does.
    """

    duration_s: Positive
    target: NotNegative
    start: NotNegative | None = None
    name: str = ""

    @property
    def first(self) -> float:
        """The level at the beginning."""
        return self.target if self.start is None else self.start


class OpenLoop(msgspec.Struct, frozen=True, tag="open", tag_field="kind", forbid_unknown_fields=True):
    """Requests leave when the schedule says, whether or not the server keeps up."""

    stages: tuple[Stage, ...]
    process: Literal["constant", "poisson", "gamma"] = "poisson"
    cv: Positive = 2.0
    """Coefficient of variation of the gaps of `gamma`: 1 is Poisson, more is burstier."""


class ClosedLoop(msgspec.Struct, frozen=True, tag="closed", tag_field="kind", forbid_unknown_fields=True):
    """Users who each send the next request when the last was answered and they have thought."""

    stages: tuple[Stage, ...]
    requests: Annotated[int, Meta(ge=1)] | None = None
    """The run is over after so many; the stages' durations are then an upper bound."""
    think_s: NotNegative = 0.0
    think: Literal["constant", "exponential"] = "constant"


class Replay(msgspec.Struct, frozen=True, tag="trace", tag_field="kind", forbid_unknown_fields=True):
    """The arrivals of a recorded trace: CSV, JSONL, or our own access log."""

    path: str
    speed: Positive = 1.0
    """2.0 replays twice as fast."""


Load = OpenLoop | ClosedLoop | Replay


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The server and how to reach it."""

    url: str
    method: str | None = None
    """Default: POST with a body, GET without."""
    headers: dict[str, str] = {}
    insecure: bool = False
    """Accept any TLS certificate."""
    ca_file: str | None = None


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked. Without `body` and `body_file`, an AI task makes its bodies from words and the seed.

    `vectors` asks a collection for the neighbours of vectors, which are always brought.
    """

    task: Task = "http"
    model: str | None = None
    body: str | None = None
    body_file: str | None = None
    """One body a line (JSONL), or of `vectors` one query a row (.npy); taken in turn."""
    stream: bool = False
    """Ask for server-sent events and time every token."""
    prompt_words: Annotated[int, Meta(ge=1, le=100_000)] = 16
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] = 64
    distinct: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """How many different generated bodies; fewer lets the server's caches help.

    None is one for each request of the schedule, within reason (`load.bodies`).
    """
    prefix: str = ""
    """A word put before every text or prompt, or what moves every vector a little: runs that differ in it alone are alike
    but share no cached answer."""


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts as a good answer."""

    status: tuple[int, ...] = ()
    """Empty: 200 to 299."""
    json: bool = False
    """The body must be JSON (always checked where the task's answers are JSON)."""


class Stopping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a run ends before its schedule does."""

    precision: Annotated[float, Meta(gt=0, lt=1)] | None = None
    """Stop when the interval of `quantile` is narrower than +- this share of it."""
    quantile: Annotated[float, Meta(gt=0, lt=1)] = 0.95
    failures_percent: Annotated[float, Meta(gt=0, le=100)] | None = None
    """Stop when so many of the last 100 or more requests failed."""
    time_limit_s: Positive | None = None
    """Hard end: whatever is in flight then counts as timed out."""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run, whole. The report carries it, and the same plan and seed send the same requests at the same times."""

    target: Target
    load: Load
    payload: Payload = Payload()
    name: str = "run"
    seed: int = 1
    expect: Expect = Expect()
    stopping: Stopping = Stopping()
    thresholds: tuple[str, ...] = ()
    """k6 expressions, `p(95)<300`; target and critical level as `p(95)<300|600`."""
    warmup_s: NotNegative | None = None
    """None finds the end of the warm-up from the latencies (MSER-5)."""
    timeout_s: Positive = 30.0
    """Of one request, from the moment it is sent."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    max_connections: Annotated[int, Meta(ge=1, le=60_000)] = 1_024
    keep_alive: bool = True
    timestamps: Literal["auto", "kernel", "user"] = "auto"
    """Where the time of an answer is read; `auto` is the kernel unless users send without a pause."""
    lag_limit_ms: Positive | None = None
    """How late p99 of the requests may leave; None is 1 ms or 5 % of the median latency, whichever is less."""
    records: Literal["all", "histogram"] = "all"
    """`histogram` keeps counts by second instead of one record a request: for runs of many hours."""

    @property
    def made_up(self) -> bool:
        """Whether the bodies are ours: made of words and the seed, and nobody's real questions."""
        payload = self.payload
        return payload.task != "http" and payload.body is None and payload.body_file is None

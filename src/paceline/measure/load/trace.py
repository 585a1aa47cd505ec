"""A trace made ready to be replayed: arrivals in order from 0, and which different request each of them sends."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from paceline.base.errors import ConfigError
from paceline.measure.load.address import default_path
from paceline.measure.load.body_file import completed, given_bodies
from paceline.measure.load.trace_file import Asked, TraceFile, read_trace
from paceline.measure.plan import Payload, Plan, Replay

VARIANTS: Final = 1_000
"""Bodies of one length, when the plan does not say how many."""
MAX_PROMPT_WORDS: Final = 200_000_000
"""Of all different prompts together; about six bytes each."""


WITH_BODY: Final = ("POST", "PUT", "PATCH")


class Shape(NamedTuple):
    """One of the different requests of a run, before its body is made."""

    words: int
    """In the whole prompt, all rows together."""
    max_tokens: int
    rows: int = 1
    turn: int = 0
    """Which of those that are otherwise alike."""
    body: bytes | None = None
    """Brought by the trace."""
    path: str | None = None
    method: str | None = None

    @property
    def bodyless(self) -> bool:
        """Whether the trace says that there was none."""
        return self.body is None and self.method is not None and self.method not in WITH_BODY


@dataclass(frozen=True)
class Trace:
    """What a recorded trace makes of a run. At its recorded speed: the schedule applies the plan's."""

    at_ns: array[int]
    """Type q, ascending, the first is 0."""
    request: array[int]
    """Type L: index into `shapes` for each arrival."""
    shapes: tuple[Shape, ...]
    notes: tuple[str, ...] = ()
    """What was done to it, for people."""


def load_trace(plan: Plan) -> Trace | None:
    """The trace of a plan that replays one, else None.

    An AI task replays only the lines of its own path, where lines have a path, and makes bodies of the recorded
    lengths; plain HTTP replays every line's method and path. Raises ConfigError.
    """
    if not isinstance(plan.load, Replay):
        return None
    file = read_trace(plan.load.path)
    name = Path(plan.load.path).name
    notes: list[str] = []
    at_ns, ask = _chosen(file, plan, name, notes)
    at_ns, ask = _in_order(at_ns, ask, name, notes)
    given = len(given_bodies(plan.payload))
    asks = [_simplified(one, plan.payload, given, name) for one in file.asks]
    request, shapes = _shapes(ask, asks, _variants(plan.payload, given))
    words = sum(shape.words for shape in shapes if shape.body is None) if not given else 0
    if words > MAX_PROMPT_WORDS:
        raise ConfigError(
            f"{name} asks for {words:,} words of different prompts, {MAX_PROMPT_WORDS:,} are possible; "
            "cut the trace, or lower payload.distinct so that requests of one length share bodies",
            param="load.path",
        )
    empty = sum(one.prompt == 0 or one.answer == 0 for one in file.asks)
    if empty and plan.payload.task != "http":
        notes.append(f"{name}: lengths of 0 are sent as 1")
    return Trace(at_ns, request, tuple(shapes), tuple(notes))


def _chosen(file: TraceFile, plan: Plan, name: str, notes: list[str]) -> tuple[array[int], array[int]]:
    """The lines that this task replays."""
    wanted, what = _wanted(plan)
    kept_asks = [wanted(one) for one in file.asks]
    if all(kept_asks):
        return file.at_ns, file.ask
    kept = [(at, ask) for at, ask in zip(file.at_ns, file.ask, strict=True) if kept_asks[ask]]
    if not kept:
        raise ConfigError(
            f"{name} has no {what}, which task {plan.payload.task} sends; choose another task",
            param="load.path",
        )
    notes.append(f"{name}: {len(file.ask) - len(kept)} of {len(file.ask)} lines left out, no {what}")
    return array("q", (at for at, _ in kept)), array("L", (ask for _, ask in kept))


def _wanted(plan: Plan) -> tuple[Callable[[Asked], bool], str]:
    """Whether a line is for this task, and what those lines are."""
    task = plan.payload.task
    if task == "http":
        return lambda one: one.method not in {"HEAD", "CONNECT"}, "request with a body in its answer"
    own = {urlsplit(default_path(url, task)).path for url in (plan.target.url, "http://any")}
    if task == "embeddings":
        own.add("/v1/infer")  # our server's other door to the same work

    def wanted(one: Asked) -> bool:
        return one.method in {None, "POST"} and (one.path is None or urlsplit(one.path).path in own)

    return wanted, f"POST to {' or '.join(sorted(own))}"


def _in_order(
    at_ns: array[int], ask: array[int], name: str, notes: list[str]
) -> tuple[array[int], array[int]]:
    """Sorted by time (lines of one time keep their order), beginning at 0."""
    late = sum(b < a for a, b in pairwise(at_ns))
    if late:
        order = sorted(range(len(at_ns)), key=at_ns.__getitem__)
        at_ns = array("q", map(at_ns.__getitem__, order))
        ask = array("L", map(ask.__getitem__, order))
        notes.append(f"{name}: {late} lines were earlier than the one before; sorted by time")
    start = at_ns[0]
    return array("q", (at - start for at in at_ns)), ask


def _simplified(one: Asked, payload: Payload, given: int, name: str) -> Shape:
    """A line's request with the plan's lengths where the trace has none, and without what its task does not use."""
    if one.body is not None and given:
        raise ConfigError(f"{name} has bodies and the plan has too; leave one out", param="payload.body")
    if payload.task == "http":
        if one.body is None and not given and one.method in WITH_BODY:
            raise ConfigError(
                f"{name} has a {one.method} to {one.path or 'the target'} without its body; give a body, "
                "or take the task that makes such bodies",
                param="payload.body",
            )
        return Shape(0, 0, body=one.body, path=one.path, method=one.method)
    if one.body is not None:
        return Shape(0, 0, body=completed(one.body, payload, f"a body of {name}"))
    if given:
        return Shape(0, 0)
    answers = payload.task != "embeddings"
    return Shape(
        max(1, payload.prompt_words if one.prompt is None else one.prompt),
        max(1, payload.max_tokens if one.answer is None else one.answer) if answers else 0,
        max(1, one.rows or 1) if not answers else 1,
    )


def _variants(payload: Payload, given: int) -> Callable[[Shape], int]:
    """How many different bodies a shape may have."""

    def count(shape: Shape) -> int:
        if shape.body is not None or shape.bodyless:
            return 1
        return given or (1 if payload.task == "http" else payload.distinct or VARIANTS)

    return count


def _shapes(
    ask: array[int], asks: list[Shape], variants: Callable[[Shape], int]
) -> tuple[array[int], list[Shape]]:
    """Number the different requests as they first come; those that are alike but for the turn take turns."""
    known: dict[Shape, int] = {}
    alike = [known.setdefault(shape, len(known)) for shape in asks]  # the task may not tell two lines apart
    plain, limits = list(known), [variants(shape) for shape in known]
    seen = [0] * len(plain)
    shapes: dict[tuple[int, int], int] = {}
    request = array("L")
    for one in ask:
        kind = alike[one]
        turn = seen[kind] % limits[kind]
        seen[kind] += 1
        request.append(shapes.setdefault((kind, turn), len(shapes)))
    return request, [plain[kind]._replace(turn=turn) for kind, turn in shapes]

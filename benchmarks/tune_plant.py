"""The server and the three loads of the tuner's benchmarks: steady, bursty, cache-heavy. Seeds are fixed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from load import paceline_server

from paceline.app.tuning.admin import Admin
from paceline.app.tuning.bench import LoadBench
from paceline.app.tuning.load import with_texts
from paceline.app.tuning.session import Asked, running
from paceline.measure.plan import OpenLoop, Payload, Plan, Stage, Target
from paceline.measure.probe import name_model
from paceline.measure.slo import parse
from paceline.tune.goal import Goal
from paceline.tune.order import Order
from paceline.tune.space import Space

TOKEN = "benchmark"
KNOBS = {
    "embed.batch.max_size": (1, 2, 4, 8, 16, 32),
    "embed.batch.max_cost": (128, 256, 512, 1024, 2048),
    "embed.batch.max_wait_ms": (0.0, 2.0, 5.0, 10.0, 20.0),
    "embed.batch.adaptive": (True, False),
}
"""300 settings: the knobs of the batch."""


@dataclass(frozen=True)
class Load:
    """One workload: requests/s, burstiness (1 is Poisson), and how many different texts (None: all)."""

    name: str
    rate: float
    cv: float = 1.0
    distinct: int | None = None
    words: tuple[int, int] = (4, 64)


LOADS = (
    Load("steady", 250.0),
    Load("bursty", 180.0, cv=3.0),
    Load("cache-heavy", 700.0, distinct=400),
)


def plan_of(url: str, load: Load, seconds: float, folder: Path, *, seed: int = 1) -> Plan:
    """What every run of this load sends."""
    process = "poisson" if load.cv == 1.0 else "gamma"
    plan = Plan(
        Target(f"{url}/v1/embeddings"),
        OpenLoop((Stage(seconds, load.rate),), process=process, cv=load.cv),
        Payload(task="embeddings"),
        seed=seed,
    )
    return with_texts(name_model(plan), folder, load.words, load.distinct)


@contextmanager
def bench_of(
    load: Load,
    seconds: float,
    *,
    aim: str = "latency",
    seed: int = 1,
    budget_s: float = 300.0,
    max_runs: int = 10,
) -> Iterator[tuple[LoadBench, Order, Admin]]:
    """A fresh server under this load, and the order to tune it for p95."""
    with ExitStack() as stack:
        server = stack.enter_context(paceline_server(f"admin.token={TOKEN}"))
        url = server.url.removesuffix("/v1/embeddings")
        folder = Path(stack.enter_context(TemporaryDirectory()))
        admin = Admin(url, TOKEN)
        stack.callback(admin.close)
        plan = plan_of(url, load, seconds, folder, seed=seed)
        asked = Asked(
            goal=Goal(parse(["p(95)<1000"]), aim),  # type: ignore[arg-type]
            knobs=tuple(KNOBS),
            budget_s=budget_s,
            max_runs=max_runs,
            candidates=4,
            margin=0.02,
            patience=20,
            seed=seed,
        )
        bench, order = stack.enter_context(running(plan, load.name, asked, admin, lambda: False))
        knobs = [msgspec.structs.replace(knob, values=KNOBS[knob.name]) for knob in order.space.knobs]
        yield bench, replace(order, space=Space(knobs)), admin

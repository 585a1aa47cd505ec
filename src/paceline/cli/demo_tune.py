"""The last act of `paceline demo`: the running server is set up as a usual guide says, and tuned."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paceline.app.tuning.load import lengths
from paceline.cli.measure import until_interrupted
from paceline.cli.measure_options import TargetOptions
from paceline.cli.tune import finish
from paceline.cli.tune_options import AskedOptions, GoalOptions, ReplayOptions, ResultOptions
from paceline.cli.tune_plan import (
    REQUESTS,
    SHORTEST_S,
    checked_plan,
    goal_of,
    load_plan,
    margin_of,
    most_per_s,
)
from paceline.tune.simulation import fleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from paceline.app.tuning.admin import Admin
    from paceline.settings import Loaded
    from paceline.tune.report import TuneReport
    from paceline.tune.setting import Setting

GUIDE: Final[Setting] = {
    "embed.batch.max_size": 64,
    "embed.batch.max_wait_ms": 10.0,
    "embed.batch.adaptive": False,
}
"""`BATCH_MAX_SIZE=64` and `BATCH_FLUSH_TIMEOUT_MS=10` where a flush timeout is what it is elsewhere: a batch waits for
rows until it is full or the time is up, however few requests come."""
KNOBS: Final = (*GUIDE, "embed.batch.max_cost")
DISTINCT: Final = 2_000
SHARE: Final = 0.4
"""Of what the server answers at most. Load generator and server share the cores: more would measure their quarrel."""
LONGEST_S: Final = 5.0
"""Of one trial, where the server is slow."""
BUDGET_S: Final = 120.0
"""A gain that is proven ends the tune sooner: about 55 s on two quiet cores, of which 10 blocks of the A/B are 35 s."""
MAX_RUNS: Final = 6
CANDIDATES: Final = 2
THRESHOLDS: Final = ("p(95)<100", "errors<1%")
FAILED: Final = ("failed", "interrupted")
"""Outcomes that the exit status of the demo tells; a tune without a gain is no failure."""


def show_tune(console: Console, url: str, token: str, loaded: Loaded) -> int:
    """Tune the server at `url`, print what came out, and return the exit status. Leaves files in a new folder.

    `loaded` are the settings that the server was started with. Raises PacelineError when it does not even stand the
    first run.
    """
    from paceline.app.tuning.admin import Admin  # noqa: PLC0415 - httpx is slow to import

    if not fleet.COMPILES:
        console.print(
            "\nNot tuned: numba is missing, and simulating takes minutes without it; "
            "install it with: pip install 'paceline\\[tune]'",
            soft_wrap=True,
        )
        return 0
    with closing(Admin(url, token)) as admin, until_interrupted() as interrupted:
        guide = guide_for(loaded)
        admin.keep(guide)
        _introduce(console, guide)
        report = _tuned(console, url, admin, interrupted)
    folder = Path(tempfile.mkdtemp(prefix="paceline-demo-"))
    console.print()
    status = finish(report, ResultOptions(write=folder / "tuned.toml", output=(folder / "tune.html",)))
    return status if report.outcome in FAILED else 0


def guide_for(loaded: Loaded) -> Setting:
    """What the guide changes: nothing for a user who has an opinion on batches already."""
    return {} if any(name.startswith("embed.batch.") for name in loaded.origins) else GUIDE


def _introduce(console: Console, guide: Setting) -> None:
    baseline = (
        f"now runs with the settings of a usual guide (BATCH_MAX_SIZE={guide['embed.batch.max_size']}, "
        f"BATCH_FLUSH_TIMEOUT_MS={guide['embed.batch.max_wait_ms']:g}: every batch waits for rows until it is full or "
        "the time is up), not with Paceline's defaults"
        if guide
        else "runs with your own settings of embed.batch"
    )
    console.print(f"\nThe server {baseline}. [bold]Tuning it[/bold] for p95 latency:", soft_wrap=True)


def _tuned(console: Console, url: str, admin: Admin, interrupted: Callable[[], bool]) -> TuneReport:
    """As `paceline tune` does it, on a load that the server was found to stand."""
    from paceline.app.tuning.session import Asked, running  # noqa: PLC0415
    from paceline.cli.measure_run import with_task  # noqa: PLC0415
    from paceline.tune.pipeline import Tuner  # noqa: PLC0415
    from paceline.tune.render.progress import watching  # noqa: PLC0415

    wish = Asked(
        goal=goal_of(GoalOptions(threshold=THRESHOLDS)),
        knobs=KNOBS,
        budget_s=BUDGET_S,
        max_runs=MAX_RUNS,
        candidates=CANDIDATES,
        margin=margin_of(GoalOptions()),
        patience=0,  # no time to repeat what other programs disturbed: it is said, and the A/B takes turns
    )
    texts = AskedOptions(distinct=DISTINCT)
    with tempfile.TemporaryDirectory(prefix="paceline-demo-") as folder:
        phase = checked_plan(TargetOptions(url=url), ReplayOptions(), texts)
        most = most_per_s(with_task([phase])[0].plan, Path(folder), lengths(texts.prompt_words))
        rate = float(f"{SHARE * most:.2g}")
        console.print(f"It answers {most:.0f} requests/s at most; the load is {rate:g}/s.")
        trial_s = min(LONGEST_S, max(SHORTEST_S, REQUESTS / rate))
        load = ReplayOptions(rate=rate, duration=f"{trial_s:.2f}s")
        plan, source = load_plan(phase, load, texts, Path(folder))
        with running(plan, source, wish, admin, interrupted) as (bench, order), watching() as watcher:
            return Tuner(bench, order, watcher).run()

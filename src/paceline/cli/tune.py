"""`paceline tune`: the setting that holds the SLO at the least cost, found by simulation and proven live."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, closing
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cyclopts import App

from paceline.cli.console import say, say_note
from paceline.cli.measure import until_interrupted
from paceline.cli.measure_options import Target, TargetOptions
from paceline.cli.tune_options import (
    Asked,
    AskedOptions,
    GoalOptions,
    Replay,
    ReplayOptions,
    Result,
    ResultOptions,
    Searched,
    SearchOptions,
    Wanted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from paceline.app.tuning.admin import Admin
    from paceline.measure.scenarios.scenario import Phase
    from paceline.tune.goal import Goal
    from paceline.tune.report import TuneReport

STATUS: Final = {
    "applied": 0,
    "written": 0,
    "kept": 0,
    "rolled back": 1,
    "infeasible": 1,
    "failed": 1,
    "interrupted": 130,
}
MOST_CANDIDATES: Final = 8

command = App(
    name="tune",
    help_epilogue="Examples:\n\n"
    "    paceline serve --set admin.token=secret &\n"
    "    export PACELINE_ADMIN__TOKEN=secret\n"
    "    paceline tune --url http://localhost:8080 --slo slo.toml\n"
    "    paceline tune --url $URL --threshold 'p(95)<50' --rate 200 --objective cost --budget 3m\n"
    "    paceline tune --url $URL --trace access.log --output tune.html --apply\n"
    "    paceline tune --url http://localhost:8099/x --knobs nginx.toml --launch 'nginx -p {folder} -c {files.nginx}'\n\n"
    "Exit status: 0 a winner was applied or written, or the baseline is as good; 1 no setting holds the SLO, the winner "
    "was rolled back, or the server failed; 2 wrong usage; 130 interrupted. Whatever happens, the server is back on its "
    "own settings unless --apply succeeded.",
)


@command.default
def tune(  # noqa: PLR0913 - groups of options
    *,
    target: Target = TargetOptions(),  # noqa: B008 - frozen
    load: Replay = ReplayOptions(),  # noqa: B008
    asked: Asked = AskedOptions(),  # noqa: B008
    goal: Wanted = GoalOptions(),  # noqa: B008
    search: Searched = SearchOptions(),  # noqa: B008
    result: Result = ResultOptions(),  # noqa: B008
) -> int:
    """Find the settings that hold the SLO best, prove the gain against the present ones, and apply or write them.

    Measures a little, simulates every setting on the server's own scheduling code, verifies the best few live on the
    same requests, and lets the winner stand an A/B test.
    """
    from paceline.cli.tune_plan import checked_plan, goal_of  # noqa: PLC0415 - `--help` does without

    wanted = goal_of(goal)
    phase = checked_plan(target, load, asked)
    _check(goal, search, result)
    with until_interrupted() as interrupted:
        report = _tune(phase, (load, asked, goal, search, result), wanted, interrupted)
    return finish(report, result)


def _tune(
    phase: Phase,
    options: tuple[ReplayOptions, AskedOptions, GoalOptions, SearchOptions, ResultOptions],
    goal: Goal,
    interrupted: Callable[[], bool],
) -> TuneReport:
    from paceline.app.tuning.session import Asked as Wish  # noqa: PLC0415
    from paceline.app.tuning.session import launched, launching, running  # noqa: PLC0415
    from paceline.cli.tune_plan import allowed_loss_of, load_plan, margin_of  # noqa: PLC0415
    from paceline.measure.scenarios.duration import duration_s  # noqa: PLC0415
    from paceline.tune.pipeline import Tuner  # noqa: PLC0415
    from paceline.tune.render.progress import watching  # noqa: PLC0415

    load, asked, goal_options, search, result = options
    wish = Wish(
        goal=goal,
        knobs=search.knob,
        budget_s=duration_s(search.budget, param="--budget"),
        max_runs=search.max_runs,
        candidates=search.candidates,
        margin=margin_of(goal_options),
        allowed_loss=allowed_loss_of(goal_options),
        least_quality=goal_options.least_quality,
        apply=result.apply,
        blackbox=search.blackbox,
        seed=load.seed,
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="paceline-tune-")))
        if search.launch is None:
            admin = stack.enter_context(_admin(phase, search))
            admin.settings()  # who may not tune learns it before any load is sent
            plan, source = load_plan(phase, load, asked, folder)
            bench, order = stack.enter_context(running(plan, source, wish, admin, interrupted))
        else:
            assert search.knobs is not None
            url = phase.plan.target.url
            started = stack.enter_context(launching(search.launch, search.knobs, search.knob, url))
            plan, source = load_plan(phase, load, asked, folder)
            bench, order = launched(plan, source, wish, started, interrupted)
        watcher = stack.enter_context(watching())
        return Tuner(bench, order, watcher).run()


def _admin(phase: Phase, search: SearchOptions) -> closing[Admin]:
    from paceline.app.tuning.admin import Admin  # noqa: PLC0415

    target = phase.plan.target
    return closing(Admin(target.url, search.admin_token or "", insecure=target.insecure))


def _check(goal: GoalOptions, search: SearchOptions, result: ResultOptions) -> None:
    from paceline.base.errors import ConfigError  # noqa: PLC0415

    if (search.launch is None) != (search.knobs is None):
        raise ConfigError(
            "--launch and --knobs go together: the command that starts the server, and the file with its knobs",
            param="launch",
        )
    if goal.least_quality is not None and not 0.0 < goal.least_quality < 1.0:
        raise ConfigError(
            f"--least-quality {goal.least_quality:g}: expected a mean score above 0 and below 1",
            param="least_quality",
        )
    if goal.allowed_loss is not None and not 0.0 <= goal.allowed_loss < inf:
        raise ConfigError(
            f"--allowed-loss {goal.allowed_loss:g}: expected a loss of mean score, 0 or more",
            param="allowed_loss",
        )
    if not 1 <= search.candidates <= MOST_CANDIDATES:
        raise ConfigError(
            f"--candidates {search.candidates}: expected 1 to {MOST_CANDIDATES}", param="candidates"
        )
    least = search.candidates + 3
    if search.max_runs < least:
        raise ConfigError(
            f"--max-runs {search.max_runs}: {search.candidates} candidates, the baseline and two calibrations need "
            f"{least} or more",
            param="max_runs",
        )
    for path in (*result.output, result.write):
        if path.suffix not in {".html", ".json", ".toml"} or (path is result.write) != (
            path.suffix == ".toml"
        ):
            raise ConfigError(f"{path}: --output takes .html or .json, --write takes .toml", param="output")
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise ConfigError(f"{path}: no folder {path.parent} that can be written to", param="output")


def finish(report: TuneReport, result: ResultOptions) -> int:
    """Write what was asked for, print, and return the exit status."""
    from msgspec.structs import replace  # noqa: PLC0415

    from paceline.tune.render.page import render  # noqa: PLC0415
    from paceline.tune.render.terminal import show  # noqa: PLC0415
    from paceline.tune.report import encode  # noqa: PLC0415
    from paceline.tune.tuned_file import tuned  # noqa: PLC0415

    files: dict[str, Path] = {}
    if report.outcome in {"applied", "written"}:
        report = replace(report, written_to=str(result.write))
        if _written(result.write, tuned(report)):
            files["settings"] = result.write
    for path in result.output:
        text = render(report) if path.suffix == ".html" else encode(report).decode()
        if _written(path, text):
            files["page" if path.suffix == ".html" else "report"] = path
    if result.json:
        say(encode(report).decode())
    else:
        show(report, files=files)
    return STATUS[report.outcome]


def _written(path: Path, text: str) -> bool:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        say_note(f"{path} cannot be written: {error.strerror or error}")
        return False
    return True

"""`paceline ab`: which of two settings of a server, or of two servers, is better under the same load."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cyclopts import App

from paceline.cli.console import say, say_note
from paceline.cli.measure import until_interrupted
from paceline.cli.measure_options import Target, TargetOptions
from paceline.cli.tune_options import (
    AbOutput,
    AbOutputOptions,
    Asked,
    AskedOptions,
    Blocks,
    BlocksOptions,
    Compared,
    ContestOptions,
    Replay,
    ReplayOptions,
    Sides,
    SidesOptions,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from paceline.app.tuning.ab_session import Contest, Named, Rules
    from paceline.measure.scenarios.scenario import Phase
    from paceline.tune.ab_report import AbReport

STATUS: Final = {
    "better": 0,
    "equivalent": 0,
    "worse": 1,
    "failed": 1,
    "undecided": 4,
    "interrupted": 130,
}

command = App(
    name="ab",
    help_epilogue="Examples:\n\n"
    "    paceline serve --set admin.token=secret &\n"
    "    export PACELINE_ADMIN__TOKEN=secret\n"
    "    paceline ab --url http://localhost:8080 --b tuned.toml\n"
    "    paceline ab --url $URL --a settings-a.toml --b settings-b.toml --rate 100 --objective cost\n"
    "    paceline ab --a-url http://old:8080 --b-url http://new:8080 --rate 50 --threshold 'p(99)<80' --output ab.html\n"
    "    paceline ab --url $URL --b tuned.toml --trace access.log --block-duration 10s --blocks 40\n\n"
    "A block is one part of the load at A and the same at B; a coin decides who goes first. Settings files hold live "
    "settings only, as changes to the server's own, which it is back on at the end.\n\n"
    "Exit status: 0 B is better, or both are equivalent; 1 B is worse, or a server failed; 4 undecided; 2 wrong usage; "
    "130 interrupted, with a report of the blocks until then.",
)


@command.default
def ab(  # noqa: PLR0913 - groups of options
    *,
    sides: Sides = SidesOptions(),  # noqa: B008 - frozen
    target: Target = TargetOptions(),  # noqa: B008
    load: Replay = ReplayOptions(),  # noqa: B008
    asked: Asked = AskedOptions(),  # noqa: B008
    goal: Compared = ContestOptions(),  # noqa: B008
    blocks: Blocks = BlocksOptions(),  # noqa: B008
    output: AbOutput = AbOutputOptions(),  # noqa: B008
) -> int:
    """Tell whether B is better than A, with an interval that holds however early it ends.

    Two settings files on one running Paceline (--url), or two servers of any kind (--a-url, --b-url).
    """
    from paceline.cli.tune_plan import checked_plan  # noqa: PLC0415 - `--help` does without

    two = _two_servers(sides, target)
    rules = _rules(load, goal, blocks)
    if rules.block_s is not None and load.duration is None and load.trace is None:
        load = replace(load, duration=f"{2 * rules.block_s}s")  # two parts, as without --block-duration
    named = None if two else _named(sides)
    _check_files(output)
    first = checked_plan(replace(target, url=sides.a_url) if two else target, load, asked)
    second = checked_plan(replace(target, url=sides.b_url), load, asked) if two else None
    with until_interrupted() as interrupted:
        report = _run((first, second), named, (sides, load, asked), rules, interrupted)
    return _finish(report, output)


def _two_servers(sides: SidesOptions, target: TargetOptions) -> bool:
    """Whether two servers meet, rather than two settings. Raises ConfigError for a mixture, or half of one."""
    from paceline.base.errors import ConfigError  # noqa: PLC0415

    servers = [sides.a_url, sides.b_url]
    if any(servers):
        if not all(servers):
            given, missing = ("--a-url", "--b-url") if sides.a_url else ("--b-url", "--a-url")
            raise ConfigError(f"{given} needs {missing} too: two servers meet", param="url")
        if target.url or sides.a or sides.b:
            raise ConfigError(
                "--a-url and --b-url are two servers as they are; --url with --a and --b is one server with two settings: "
                "give one or the other",
                param="url",
            )
        return True
    if sides.b is None:
        raise ConfigError(
            "what is to be compared? Give --url with --b FILE (and --a FILE), or --a-url with --b-url",
            param="b",
        )
    return False


def _rules(load: ReplayOptions, goal: ContestOptions, blocks: BlocksOptions) -> Rules:
    from paceline.app.tuning.ab_session import Rules  # noqa: PLC0415
    from paceline.base.errors import ConfigError  # noqa: PLC0415
    from paceline.cli.tune_plan import goal_of, margin_of  # noqa: PLC0415
    from paceline.measure.scenarios.duration import duration_s  # noqa: PLC0415
    from paceline.tune.statistics.always_valid import fewest_blocks  # noqa: PLC0415

    if blocks.blocks < fewest_blocks():
        raise ConfigError(
            f"--blocks {blocks.blocks}: fewer than {fewest_blocks()} cannot decide anything at 95 %",
            param="blocks",
        )
    each = blocks.block_duration
    return Rules(
        goal=goal_of(goal),
        blocks=blocks.blocks,
        margin=margin_of(goal),
        block_s=None if each is None else duration_s(each, param="--block-duration"),
        seed=load.seed,
    )


def _named(sides: SidesOptions) -> tuple[Named, Named]:
    """Both settings, by their files. Raises ConfigError."""
    from paceline.app.tuning.ab_session import Named  # noqa: PLC0415
    from paceline.app.tuning.setting_file import OWN, read_setting  # noqa: PLC0415

    a, b = (
        Named(OWN, {}) if file is None else Named(str(file), read_setting(file))
        for file in (sides.a, sides.b)
    )
    return a, b


def _run(
    phases: tuple[Phase, Phase | None],
    named: tuple[Named, Named] | None,
    options: tuple[SidesOptions, ReplayOptions, AskedOptions],
    rules: Rules,
    interrupted: Callable[[], bool],
) -> AbReport:
    from paceline.app.tuning.ab_session import carry_out  # noqa: PLC0415
    from paceline.tune.render.progress import watching  # noqa: PLC0415

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="paceline-ab-")))
        contest = _contest(stack, folder, phases, named, options, interrupted)
        watcher = stack.enter_context(watching())
        return carry_out(contest, rules, watcher)


def _contest(  # noqa: PLR0913, PLR0917 - what the command was given
    stack: ExitStack,
    folder: Path,
    phases: tuple[Phase, Phase | None],
    named: tuple[Named, Named] | None,
    options: tuple[SidesOptions, ReplayOptions, AskedOptions],
    interrupted: Callable[[], bool],
) -> Contest:
    from paceline.app.tuning.ab_session import on_one_server, on_two_servers, with_target  # noqa: PLC0415
    from paceline.app.tuning.admin import Admin  # noqa: PLC0415
    from paceline.cli.measure_run import with_task  # noqa: PLC0415
    from paceline.cli.tune_plan import load_plan  # noqa: PLC0415

    sides, load, asked = options
    first, second = phases
    if second is not None:
        other = with_task([second])[0].plan  # who is not there is said before A gets any load
        plan, source = load_plan(first, load, asked, folder)
        return on_two_servers(plan, with_target(plan, other), source, interrupted)
    assert named is not None
    target = first.plan.target
    admin = stack.enter_context(closing(Admin(target.url, sides.admin_token or "", insecure=target.insecure)))
    admin.settings()  # who may not change settings learns it before any load is sent
    plan, source = load_plan(first, load, asked, folder)
    return stack.enter_context(on_one_server(plan, source, admin, named, interrupted))


def _check_files(output: AbOutputOptions) -> None:
    from paceline.base.errors import ConfigError  # noqa: PLC0415

    for path in output.output:
        if path.suffix not in {".html", ".json"}:
            raise ConfigError(f"--output {path}: expected a name that ends in .html or .json", param="output")
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise ConfigError(
                f"--output {path}: no folder {path.parent} that can be written to", param="output"
            )


def _finish(report: AbReport, output: AbOutputOptions) -> int:
    """Write what was asked for, and print."""
    from paceline.tune.ab_report import encode  # noqa: PLC0415
    from paceline.tune.render.ab_page import render  # noqa: PLC0415
    from paceline.tune.render.ab_terminal import show  # noqa: PLC0415

    files: dict[str, Path] = {}
    for path in output.output:
        text = render(report) if path.suffix == ".html" else encode(report).decode()
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            say_note(f"{path} cannot be written: {error.strerror or error}")
        else:
            files["page" if path.suffix == ".html" else "report"] = path
    if output.json:
        say(encode(report).decode())
    else:
        show(report, files=files)
    return STATUS[report.outcome]

"""`paceline measure`: load on any HTTP server, latency and throughput that can be trusted, a verdict."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cyclopts import App

from paceline.cli.console import say, say_error, say_note
from paceline.cli.measure_options import (
    Content,
    ContentOptions,
    Judging,
    JudgingOptions,
    Load,
    LoadOptions,
    MeasureOptions,
    Output,
    OutputOptions,
    Target,
    TargetOptions,
)

if TYPE_CHECKING:
    from paceline.measure.plan import Plan
    from paceline.measure.scenarios.scenario import Phase

SCRIPT_BODIES = 1_000

command = App(
    name="measure",
    help_epilogue="Examples:\n\n"
    "    paceline measure --url http://localhost:8080 --requests 1000 --concurrency 50\n"
    "    paceline measure --url $URL --rate 200 --duration 1m --threshold 'p(95)<300'\n"
    "    paceline measure --url $URL --task chat --stream --threshold 'ttft p(95)<500'\n"
    "    paceline measure --url $URL --stage 30s:100 --stage 1m:100 --output page.html\n"
    "    paceline measure --url $URL --capacity --threshold 'p(95)<300'\n"
    "    paceline measure --url $URL --scenario spike --rate 50\n"
    "    paceline measure --scenario spike --print > mine.toml\n"
    "    paceline measure --url $URL --rate 50 --export k6 > script.js\n\n"
    "Exit status: 0 objectives met, 1 a target missed, 2 a critical level crossed or wrong usage, 3 the run is "
    "INVALID (it measured the generator), 4 INCONCLUSIVE (too little to tell), 130 interrupted. Without thresholds "
    "it is judged by the default table: p95 300/600 ms, p99 500/1000 ms, errors 0.5/2 %.",
)


@command.default
def measure(
    *,
    target: Target = TargetOptions(),  # noqa: B008 - frozen
    load: Load = LoadOptions(),  # noqa: B008
    content: Content = ContentOptions(),  # noqa: B008
    judging: Judging = JudgingOptions(),  # noqa: B008
    output: Output = OutputOptions(),  # noqa: B008
) -> int:
    """Put load on an HTTP server and tell how it answers.

    Latency counts from the moment a request should have been sent, so a server that stalls cannot hide it.
    """
    options = MeasureOptions(target=target, load=load, content=content, judging=judging, output=output)
    if output.list_scenarios:
        return list_scenarios()
    if output.show_scenario:
        return print_scenario(load.scenario)
    from paceline.cli.measure_plan import plan_of  # noqa: PLC0415 - `--help` does without

    phases = plan_of(options)
    if output.export is not None:
        return export(phases)
    return run_all(phases, options)


def list_scenarios() -> int:
    """Print the presets."""
    from paceline.measure.scenarios import presets  # noqa: PLC0415

    for name in presets.names():
        say(f"{name:<12} {presets.named(name).description}")
    return 0


def print_scenario(name: str | None) -> int:
    """Print the file of a preset. Raises ConfigError without a name or for one that is none."""
    from paceline.base.errors import ConfigError  # noqa: PLC0415
    from paceline.measure.scenarios import presets  # noqa: PLC0415

    if name is None:
        raise ConfigError(
            f"--print what? add --scenario with one of {', '.join(presets.names())}", param="scenario"
        )
    sys.stdout.write(presets.text(name))
    return 0


def export(phases: list[Phase]) -> int:
    """Print the k6 script."""
    from paceline.measure.load.bodies import bodies  # noqa: PLC0415
    from paceline.measure.scenarios.k6 import script  # noqa: PLC0415

    if phases[0].find_task:
        say_note(
            "no task and no path given, so the script asks GET /; add --task embeddings, chat or completions"
        )
    sys.stdout.write(script(phases, lambda plan: bodies(_for_script(plan), None)))
    return 0


def _for_script(plan: Plan) -> Plan:
    """With no more bodies than one wants to see in a script."""
    from msgspec.structs import replace  # noqa: PLC0415

    payload = plan.payload
    return replace(plan, payload=replace(payload, distinct=payload.distinct or SCRIPT_BODIES))


def run_all(phases: list[Phase], options: MeasureOptions) -> int:
    """Run one phase after another and return the worst exit status.

    Without --keep-going it ends after one that is INVALID or crossed a critical level; what was left out is said.
    """
    from paceline.cli import measure_run  # noqa: PLC0415

    files = measure_run.files_of(options.output, options.judging.baseline, phases)
    phases = measure_run.with_task(phases)
    worst = 0
    with until_interrupted() as interrupted:
        for number, (phase, own_files) in enumerate(zip(phases, files, strict=True)):
            status = measure_run.run_phase(phase, options, own_files, interrupted)
            worst = measure_run.worse(worst, status)
            left = [later.plan.name for later in phases[number + 1 :]]
            if left and (status == 130 or (status in {2, 3} and not options.judging.keep_going)):
                why = "interrupted" if status == 130 else f"{phase.plan.name} ended with status {status}"
                say_error(
                    f"left out {', '.join(left)}: {why}{'' if status == 130 else '; --keep-going goes on'}"
                )
                break
    return worst


@contextmanager
def until_interrupted() -> Iterator[Callable[[], bool]]:
    """Yields whether Ctrl-C came. The first one ends the run in good order; the second one ends the command."""
    pressed = False

    def on_interrupt(_number: int, _frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)

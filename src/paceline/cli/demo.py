"""`paceline demo`: servers with real models, a real corpus under load, and the table of service levels."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import App, Parameter

from paceline.base.errors import ConfigError
from paceline.base.slo import State, judge, worst
from paceline.cli.options import NO_OPTIONS, Options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psutil
    from rich.console import Console
    from rich.table import Table

    from paceline.cli.closed_loop import ClosedLoop
    from paceline.client import AsyncClient

command = App(
    name="demo",
    help_epilogue="Examples:\n\n"
    "    paceline demo\n"
    "    paceline demo --seconds 30 --users 64\n"
    "    paceline demo --set embed.precision=int8\n"
    "    paceline demo --no-tune\n\n"
    "Exit status 1 when a service level is critical, or when the server fails under the tuner; whether the tuner finds "
    "a gain does not matter.",
)

CHUNK = 16
"""Texts in one request of the bulk phase."""
BULK_USERS = 4
THINK_S = 0.1


@command.default
def demo(
    *,
    seconds: Annotated[float, Parameter(help="Length of the load test.")] = 15.0,
    users: Annotated[
        int, Parameter(help="Callers of the load test; each thinks 0.1 s between requests.")
    ] = 12,
    texts: Annotated[int, Parameter(help="Glosses to embed first, at most 6000.")] = 3000,
    tune: Annotated[bool, Parameter(help="Tune the server at the end: one to two minutes.")] = True,
    options: Options = NO_OPTIONS,
) -> int:
    """Start a server with the demo models, put load on it and show what happens.

    Asks the small language model what it was taught, alone and with company. Embeds WordNet glosses, stores and searches them, lets users ask Zipf-distributed questions and judges the server. At the end
    the server is set up as a usual guide says, and tuned.
    """
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second that `--help` need not spend

    from paceline.cli.demo_generate import show_generation  # noqa: PLC0415
    from paceline.cli.demo_server import running_server  # noqa: PLC0415
    from paceline.cli.demo_tune import show_tune  # noqa: PLC0415
    from paceline.cli.demo_vectors import show_vectors  # noqa: PLC0415

    if not (seconds > 0 and users > 0 and 0 < texts <= 6000):
        raise ConfigError(
            f"--seconds {seconds:g}, --users {users}, --texts {texts}: give positive numbers, and 6000 texts at most"
        )
    loaded = options.load()  # a wrong setting is said here, once, and not by the server
    token = loaded.settings.admin.token or secrets.token_urlsafe()
    console = Console(highlight=False)
    show_generation(console, options)
    glosses = [line.split("\t")[1:] for line in _corpus().read_text("utf-8").splitlines()]
    some = [(lemma, gloss) for lemma, gloss in glosses[:texts]]
    with running_server(options, token) as (url, process):
        vectors = asyncio.run(_embedded(console, url, [gloss for _, gloss in some]))
        show_vectors(console, options, some, vectors)
        verdict = asyncio.run(_users(console, url, process, glosses, users, seconds))
        status = show_tune(console, url, token, loaded) if tune else 0
    console.print(
        "\n`paceline serve` (or `make serve`) leaves a server running on http://127.0.0.1:8080; /docs shows its API.",
        soft_wrap=True,
    )
    return status or int(verdict == "critical")


async def _embedded(console: Console, url: str, corpus: list[str]) -> np.ndarray:
    """The corpus through the server: (texts, dimensions)."""
    from paceline.client import AsyncClient  # noqa: PLC0415 - httpx is slow to import

    async with AsyncClient(url) as client:
        await _introduce(console, client, url)
        return await _bulk(console, client, corpus)


def _corpus() -> Path:
    """The glosses, beside the installed package or in the repository."""
    package = Path(__file__).resolve().parents[1]
    for root in (package, package.parents[1]):
        file = root / "examples" / "wordnet" / "glosses.tsv"
        if file.is_file():
            return file
    raise ConfigError(
        f"examples/wordnet/glosses.tsv is in neither {package} nor {package.parents[1]}; install paceline again"
    )


async def _introduce(console: Console, client: AsyncClient, url: str) -> None:
    (model,) = await client.models()
    console.print(
        f"[bold]{model.id}[/bold] on {url}: {model.dimensions} dimensions, {model.max_tokens} tokens, "
        f"{model.precision} on {model.engine}",
        soft_wrap=True,
    )


async def _bulk(console: Console, client: AsyncClient, corpus: list[str]) -> np.ndarray:
    """Embed the corpus in requests of `CHUNK`; returns (texts, dimensions)."""
    from paceline.cli.closed_loop import ClosedLoop  # noqa: PLC0415

    chunks = [corpus[start : start + CHUNK] for start in range(0, len(corpus), CHUNK)]
    loop = ClosedLoop(client, iter(chunks))
    kept: dict[int, np.ndarray] = {}
    async with _live(
        console, lambda: _figures(loop, f"embedding {len(corpus)} glosses", loop.texts / len(corpus))
    ):
        await loop.run(BULK_USERS, keep=kept)
    if loop.last_error is not None:
        raise loop.last_error
    console.print(
        f"{loop.texts} glosses in {loop.elapsed_s:.1f} s: [bold]{loop.texts / loop.elapsed_s:.0f} texts/s[/bold], "
        f"batches of {np.mean(loop.batch_rows):.1f} texts"
    )
    return np.concatenate([kept[position] for position in range(len(chunks))])


async def _users(  # noqa: PLR0913, PLR0917 - the load test's parameters
    console: Console,
    url: str,
    process: psutil.Process,
    glosses: list[list[str]],
    users: int,
    seconds: float,
) -> State:
    """Zipf-distributed questions nobody has embedded yet, by users who think; prints the table of service levels."""
    from paceline.cli.closed_loop import ClosedLoop  # noqa: PLC0415
    from paceline.client import AsyncClient  # noqa: PLC0415

    draw = random.Random(7)  # noqa: S311 - a load, not a secret
    ranks = list(itertools.accumulate(1 / rank for rank in range(1, len(glosses) + 1)))
    end_at = time.monotonic() + seconds

    def questions() -> Iterator[list[str]]:
        while time.monotonic() < end_at:
            (lemma, gloss) = glosses[draw.choices(range(len(glosses)), cum_weights=ranks)[0]]
            yield [f"{lemma}: {gloss}"]

    async with AsyncClient(url) as client:
        loop = ClosedLoop(client, questions(), think_s=THINK_S)
        watch = _Watch(client, process)
        watching = asyncio.ensure_future(watch.run())
        title = f"{users} users, {seconds:g} s"
        async with _live(console, lambda: _figures(loop, title, loop.elapsed_s / seconds, watch.queue_depth)):
            await loop.run(users)
        watching.cancel()
    values = {
        "p95_ms": loop.percentile_ms(95),
        "p99_ms": loop.percentile_ms(99),
        "error_percent": 100 * loop.failed / max(loop.requests, 1),
        "hit_percent": 100 * loop.hits / max(loop.requests, 1),
        "queue_depth": watch.deepest,
        "cpu_percent": watch.cpu_percent(),
        "memory_gb": process.memory_info().rss / 1e9,
    }
    verdicts = judge(values)
    console.print(
        f"{loop.requests} requests, {loop.requests / loop.elapsed_s:.0f}/s; p50 {loop.percentile_ms(50):.1f} ms, "
        f"p95 {values['p95_ms']:.1f} ms, p99 {values['p99_ms']:.1f} ms"
    )
    console.print(_table(verdicts))
    return worst(verdicts)


class _Watch:
    """The server's queue, and its share of the machine's cores."""

    def __init__(self, client: AsyncClient, process: psutil.Process) -> None:
        self._client = client
        self._process = process
        self._started_at = time.monotonic()
        self._cpu_s = self._cpu()
        self.queue_depth = 0.0
        self.deepest = 0.0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for line in (await self._client.metrics()).splitlines():
                if line.startswith("paceline_queue_depth"):
                    self.queue_depth = float(line.rsplit(" ", 1)[1])
            self.deepest = max(self.deepest, self.queue_depth)
            await asyncio.sleep(0.25)

    def cpu_percent(self) -> float:
        """Of all cores, on average since the start."""
        import psutil  # noqa: PLC0415

        return (
            100
            * (self._cpu() - self._cpu_s)
            / (time.monotonic() - self._started_at)
            / (psutil.cpu_count() or 1)
        )

    def _cpu(self) -> float:
        family = [self._process, *self._process.children(recursive=True)]
        return float(sum(sum(member.cpu_times()[:2]) for member in family))


@asynccontextmanager
async def _live(console: Console, render: object) -> AsyncIterator[None]:
    """Show `render()` ten times a second on a terminal; nothing when piped."""
    from rich.live import Live  # noqa: PLC0415

    if not console.is_terminal:
        yield
        return
    with Live(get_renderable=render, console=console, refresh_per_second=10, transient=True):  # type: ignore[arg-type]
        yield


def _figures(loop: ClosedLoop, title: str, share: float, queue_depth: float | None = None) -> Table:
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    grid = Table.grid(padding=(0, 2))
    grid.add_row(title, ProgressBar(total=1.0, completed=min(share, 1.0), width=30))
    grid.add_row("texts/s", f"{loop.texts / loop.elapsed_s:.0f}")
    grid.add_row("p50, p95, p99", " ".join(f"{loop.percentile_ms(p):.1f}" for p in (50, 95, 99)) + " ms")
    grid.add_row("cache hits", f"{100 * loop.hits / max(loop.requests, 1):.0f} %")
    grid.add_row("texts a batch", f"{np.mean(loop.batch_rows[-100:]) if loop.batch_rows else 0:.1f}")
    if queue_depth is not None:
        grid.add_row("queue depth", f"{queue_depth:.0f}")
    return grid


def _table(verdicts: list) -> Table:  # type: ignore[type-arg]
    from rich.table import Table  # noqa: PLC0415

    colours = {"ok": "green", "warning": "yellow", "critical": "red", "unknown": "dim"}
    table = Table("service level", "target", "critical", "measured", "state")
    for verdict in verdicts:
        goal = verdict.objective
        sign = ">" if goal.higher_is_better else "<"
        shown = "-" if verdict.value is None else f"{verdict.value:.4g} {goal.unit}"
        table.add_row(
            goal.label,
            f"{sign} {goal.target:g} {goal.unit}",
            f"{sign} {goal.critical:g} {goal.unit}",
            shown,
            f"[{colours[verdict.state]}]{verdict.state}[/]",
        )
    return table

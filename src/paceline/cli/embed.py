"""`paceline embed`: vectors of texts, from a model in this process or from a running server."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from cyclopts import App, Parameter

from paceline.base.api import EmbedRequest
from paceline.base.clock import monotonic
from paceline.base.errors import ConfigError, InvalidRequest
from paceline.cli.console import progress, say_note
from paceline.cli.embed_output import Format, Row, writer
from paceline.cli.options import NO_OPTIONS, Options

if TYPE_CHECKING:
    from paceline.settings import Settings

command = App(
    name="embed",
    help_epilogue="Examples:\n\n"
    '    paceline embed "a red bicycle" "a crimson bike"\n'
    "    paceline embed --file corpus.txt --format npy --output corpus.npy\n"
    "    cut -f2 table.tsv | paceline embed > vectors.jsonl\n"
    '    paceline embed --url http://127.0.0.1:8080 "served elsewhere"',
)

Embed = Callable[[list[str]], Awaitable[tuple[npt.NDArray[np.float32], list[int]]]]
"""Texts to (vectors of shape (texts, dimensions), indices of texts that were cut)."""

CHUNK = 128
"""Texts in one request."""
IN_FLIGHT = 4
"""Requests at a time: the engine always has the next texts, and enough of them to group by length."""
NO_DEADLINE_S = 7 * 86400.0
"""Nobody waits for the work on this machine but the user, who has Ctrl-C."""


@command.default
async def embed(  # noqa: PLR0913 - the options of the command
    *texts: Annotated[
        str, Parameter(help="Texts; without any, and without --file, one text a line from standard input.")
    ],
    file: Annotated[
        Path | None,
        Parameter(allow_leading_hyphen=True, help="File with one text a line; - is standard input."),
    ] = None,
    url: Annotated[
        str | None,
        Parameter(
            help="Ask this server (http://, https:// or unix://) instead of running the model here; "
            "its token is the setting auth.token."
        ),
    ] = None,
    model: Annotated[str | None, Parameter(help="Model id, when the server has several.")] = None,
    dimensions: Annotated[
        int | None, Parameter(help="Keep the first n dimensions and normalise again.")
    ] = None,
    format: Annotated[  # noqa: A002 - the option is called --format
        Format | None, Parameter(help="Default: table on a terminal, jsonl elsewhere.")
    ] = None,
    output: Annotated[Path | None, Parameter(help="Write here instead of standard output.")] = None,
    options: Options = NO_OPTIONS,
) -> None:
    """Embed texts and print their vectors."""
    settings = options.load().settings
    given = list(texts) if texts and file is None else read_lines(file, texts)
    if not given:
        raise ConfigError("no texts; give some, or --file, or lines on standard input")
    to_terminal = output is None and sys.stdout.isatty()
    chosen: Format = format or ("table" if to_terminal else "jsonl")
    if chosen == "npy" and to_terminal:
        raise ConfigError("--format npy is binary and standard output is a terminal; add --output FILE")
    cut = 0
    with writer(chosen, output) as write, progress("embedding", len(given), shown=not texts) as advance:
        async with (
            _remote(settings, url, model, dimensions) if url else _here(settings, model, dimensions)
        ) as call:
            async for first, vectors, truncated in _in_order(call, given):
                write([Row(first + i, given[first + i], vector) for i, vector in enumerate(vectors)])
                cut += len(truncated)
                advance(len(vectors))
    if cut:
        say_note(f"{cut} of {len(given)} texts were longer than the model's window and were cut")


def read_lines(file: Path | None, texts: Sequence[str]) -> list[str]:
    """One text a line. Raises ConfigError when the file cannot be read or texts are given too."""
    if texts:
        raise ConfigError("give texts or --file, not both")
    try:
        content = (
            sys.stdin.buffer.read() if file is None or str(file) == "-" else file.read_bytes()
        ).decode()
    except OSError as error:
        raise ConfigError(f"--file {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--file {file or '-'}: not UTF-8 at byte {error.start}") from error
    lines = content.split("\n")
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


@asynccontextmanager
async def _remote(
    settings: Settings, url: str, model: str | None, dimensions: int | None
) -> AsyncIterator[Embed]:
    from paceline.client import AsyncClient  # noqa: PLC0415 - not needed by the model in this process

    async with AsyncClient(
        url, token=settings.auth.token or None, timeout_s=settings.serve.timeout_s
    ) as client:

        async def call(texts: list[str]) -> tuple[npt.NDArray[np.float32], list[int]]:
            reply = await client.embed(texts, model=model, dimensions=dimensions)
            return reply.vectors, reply.truncated

        yield call


@asynccontextmanager
async def _here(settings: Settings, model: str | None, dimensions: int | None) -> AsyncIterator[Embed]:
    from paceline.app import open_embedder  # noqa: PLC0415 - the engine's libraries, which a remote call does without

    async with open_embedder(settings) as service:

        async def call(texts: list[str]) -> tuple[npt.NDArray[np.float32], list[int]]:
            request = EmbedRequest(input=[*texts], model=model, dimensions=dimensions)
            result = await service.embed(request, deadline_at=monotonic() + NO_DEADLINE_S)
            return result.array(), result.truncated

        yield call


async def _in_order(
    call: Embed, texts: list[str]
) -> AsyncIterator[tuple[int, npt.NDArray[np.float32], list[int]]]:
    """Embed chunk by chunk, some at a time; yields (index of the first text, vectors, cut texts) in order."""
    running: deque[tuple[int, asyncio.Future[tuple[npt.NDArray[np.float32], list[int]]]]] = deque()
    starts = iter(range(0, len(texts), CHUNK))
    try:
        while True:
            while len(running) < IN_FLIGHT and (first := next(starts, None)) is not None:
                running.append((first, asyncio.ensure_future(call(texts[first : first + CHUNK]))))
            if not running:
                return
            first, task = running.popleft()
            try:
                vectors, truncated = await task
            except InvalidRequest as error:
                last = min(first + CHUNK, len(texts))
                raise InvalidRequest(
                    f"texts {first + 1} to {last}: {error.message}", param=error.param
                ) from error
            yield first, vectors, truncated
    finally:
        for _, task in running:
            task.cancel()

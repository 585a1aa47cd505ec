"""The demo's part on vectors: the glosses become a collection, which is searched by meaning, by words, under a filter."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from paceline.cli.demo_server import running_server
from paceline.cli.options import Options

if TYPE_CHECKING:
    from rich.console import Console

    from paceline.client import AsyncCollection

NEEDED = ("numba", "tantivy")
QUESTIONS = (
    "a small boat",
    "to speak very quietly",
    "fear of closed spaces",
    "an instrument for seeing the stars",
)
BATCH, AT_ONCE = 100, 4
ASKED = 300
"""Glosses that are asked for again, to see what a search takes and finds."""

Gloss = tuple[str, str]
"""Lemma and text."""


def show_vectors(console: Console, options: Options, glosses: Sequence[Gloss], vectors: np.ndarray) -> None:
    """Store and search; `vectors` (texts, dimensions) of the glosses. Says what is missing where packages are."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        console.print(
            f"Vector search is left out: {', '.join(missing)} not installed (pip install 'paceline[vectors,hybrid]')."
        )
        return
    with (
        tempfile.TemporaryDirectory(prefix="paceline-demo-") as folder,
        running_server(options, secrets.token_urlsafe(), f"vectors.folder={folder}") as (url, _),
    ):
        asyncio.run(_show(console, url, glosses, vectors))


async def _show(console: Console, url: str, glosses: Sequence[Gloss], vectors: np.ndarray) -> None:
    from paceline.client import AsyncClient  # noqa: PLC0415 - httpx is slow to import

    async with AsyncClient(url) as client:
        await client.create_collection("glosses", dimension=vectors.shape[1])
        collection = client.collection("glosses")
        await _stored(console, collection, glosses, vectors)
        for question in QUESTIONS:
            await _asked(console, collection, question)
        await _timed(console, collection, vectors)


async def _stored(
    console: Console, collection: AsyncCollection, glosses: Sequence[Gloss], vectors: np.ndarray
) -> None:
    """Batches, some at a time; each is on the disk when it is answered."""
    from paceline.base.vectors_records import VectorItem  # noqa: PLC0415
    from paceline.client.vector_messages import packed  # noqa: PLC0415

    turns = asyncio.Semaphore(AT_ONCE)

    async def write(start: int) -> None:
        batch = range(start, min(start + BATCH, len(glosses)))
        items = [
            VectorItem(str(i), packed(vectors[i]), {"lemma": glosses[i][0], "text": glosses[i][1]})
            for i in batch
        ]
        async with turns:
            await collection.upsert(items)

    started_at = time.perf_counter()
    await asyncio.gather(*(write(start) for start in range(0, len(glosses), BATCH)))
    seconds = time.perf_counter() - started_at
    console.print(
        f"{len(glosses)} of them in a collection: [bold]{len(glosses) / seconds:,.0f} records/s[/bold], durable"
    )


async def _asked(console: Console, collection: AsyncCollection, question: str) -> None:
    """The nearest gloss by meaning, and by meaning and words together."""
    for mode in ("vector", "hybrid"):
        found = await collection.search(question, mode=mode, top_k=1)
        for match in found.matches:
            text = (match.metadata or {}).get("text", "")
            console.print(f"  {question} -> {text[:90]} [dim]({mode})[/dim]", soft_wrap=True)


async def _timed(console: Console, collection: AsyncCollection, vectors: np.ndarray) -> None:
    """One caller asks for glosses again: latency, and whether what is found is what an exact search finds."""
    taken, right, top = [], 0, min(10, len(vectors))
    for row in range(min(ASKED, len(vectors))):
        started_at = time.perf_counter()
        found = await collection.query(vectors[row], top_k=top)
        taken.append((time.perf_counter() - started_at) * 1e3)
        near = np.argsort(-(vectors @ vectors[row]))[:top]
        right += len({match.id for match in found.matches} & {str(i) for i in near.tolist()})
    console.print(
        f"{len(taken)} queries by vector: p50 {np.percentile(taken, 50):.2f} ms, p99 {np.percentile(taken, 99):.2f} ms "
        f"over HTTP, recall@{top} {right / (top * len(taken)):.3f}\n"
    )

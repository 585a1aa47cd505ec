"""Collections of vectors as a user runs them: a server process, one or several workers, an embedding model beside."""

from __future__ import annotations

import csv
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from running import running

GLOSSES = Path(__file__).parents[2] / "examples" / "wordnet" / "glosses.tsv"
COUNT = 200
DIMENSIONS = 8


def glosses():
    """Names of things and what they are, the same each time."""
    with GLOSSES.open(encoding="utf-8") as lines:
        rows = itertools.islice(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), COUNT)
        return [{"id": key, "text": gloss, "metadata": {"word": word}} for key, word, gloss in rows]


@pytest.mark.parametrize("workers", [1, 2])
def test_glosses_are_found_by_their_meaning(state_dir, tmp_path, workers):
    settings = (f"vectors.folder={tmp_path / 'collections'}", f"serve.workers={workers}")
    with (
        running(*settings, state_dir=state_dir) as server,
        httpx.Client(base_url=server.url, timeout=60) as caller,
    ):
        card = caller.post("/v1/collections", json={"name": "glosses"}).json()
        sent = caller.post("/v1/vectors/upsert", json={"vectors": glosses()}).json()
        found = [
            caller.post("/v1/search", json={"text": text, "topK": 3}).json()["matches"]
            for text in (
                "somebody who often laughs",
                "ice cream in layers with syrup",
                "a receptor that feels pressure",
            )
        ]
        again = caller.post("/v1/search", json={"text": "somebody who often laughs", "topK": 3})
        sizes = caller.get("/v1/vectors/describe_index_stats").json()
        state = caller.get("/health").json()

    assert (card["dimension"], sent) == (384, {"upsertedCount": COUNT})
    words = [[match["metadata"]["word"] for match in matches] for matches in found]
    assert [
        [word in best for word, best in zip(("laugher", "parfait", "baroreceptor"), words, strict=True)]
    ] == [[True] * 3]
    assert again.json()["matches"] == found[0]
    assert (sizes["totalVectorCount"], state["vectors"]["status"]) == (COUNT, "ok")


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_acknowledged_is_there_after_a_kill(state_dir, tmp_path, workers):
    settings = (f"vectors.folder={tmp_path / 'collections'}", f"serve.workers={workers}", "embed.model=")
    acknowledged: list[str] = []
    enough = threading.Event()

    def write(caller: httpx.Client, writer: int) -> None:
        for number in itertools.count():
            ids = [f"{writer}-{number}-{i}" for i in range(10)]
            values = [1.0 + writer, 1.0 + number, *range(DIMENSIONS - 2)]
            try:
                reply = caller.post(
                    "/v1/vectors/upsert", json={"vectors": [{"id": name, "values": values} for name in ids]}
                )
            except httpx.TransportError:
                return
            assert reply.status_code == 200, reply.text
            acknowledged.extend(ids)
            if len(acknowledged) > 200:
                enough.set()

    with (
        running(*settings, state_dir=state_dir) as server,
        httpx.Client(base_url=server.url, timeout=60) as caller,
    ):
        caller.post("/v1/collections", json={"name": "demo", "dimension": DIMENSIONS})
        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write, caller, writer) for writer in range(4)]
            assert enough.wait(60)
            root = psutil.Process(server.process.pid)
            for process in [root, *root.children(recursive=True)]:
                process.kill()
        for writer in writers:
            writer.result()
    with (
        running(*settings, state_dir=state_dir) as server,
        httpx.Client(base_url=server.url, timeout=60) as caller,
    ):
        kept = {item["id"] for item in caller.get("/v1/vectors/list?limit=10000").json()["vectors"]}

    assert len(acknowledged) > 200
    assert not set(acknowledged) - kept


def test_a_server_without_collections_says_how_to_have_them(server):
    reply = httpx.post(f"{server.url}/v1/vectors/query", json={"vector": [1.0]})

    assert (reply.status_code, reply.json()["param"]) == (404, "vectors.folder")
    assert "/v1/vectors/query" not in httpx.get(f"{server.url}/openapi.json").json()["paths"]

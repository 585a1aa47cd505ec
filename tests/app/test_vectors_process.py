"""Collections of a real server: in its one process, or in the process behind its workers."""

from __future__ import annotations

import httpx
import pytest
from running import refused, running

from paceline.app import vectors
from paceline.app.vectors import check_vectors
from paceline.base.errors import ConfigError
from paceline.vectors.policy import VectorsPolicy


def rows(count):
    return [{"id": f"v{i}", "values": [1.0, i, i * i]} for i in range(1, count + 1)]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_acknowledged_survives_the_server(tmp_path, state_dir, workers):
    """It needs no model; a second server is told who has the folder, in one line, and the first goes on."""
    settings = ("embed.model=", f"serve.workers={workers}")
    folder = str(tmp_path / "collections")
    with running(*settings, state_dir=state_dir, arguments=("--vectors", folder)) as server:
        with httpx.Client(base_url=server.url) as client:
            assert client.post("/v1/collections", json={"name": "a", "dimension": 3}).status_code == 200
            for start in range(0, 60, 20):
                part = rows(60)[start : start + 20]
                assert client.post("/v1/vectors/upsert", json={"vectors": part}).json() == {
                    "upsertedCount": 20
                }
            query = {"vector": [1.0, 7.0, 49.0], "topK": 2}
            found = client.post("/v1/vectors/query", json=query).json()
            again = client.post("/v1/vectors/query", json=query).json()
            health = client.get("/health").json()["vectors"]
            status, said = refused(
                "--port",
                "0",
                "--vectors",
                folder,
                "--set",
                "embed.model=",
                "--set",
                f"serve.state_dir={state_dir}",
            )
        ended = server.stop()

    with running(*settings, state_dir=state_dir, arguments=("--vectors", folder)) as server:
        kept = httpx.post(f"{server.url}/v1/vectors/query", json=query).json()
        count = httpx.post(f"{server.url}/v1/vectors/describe_index_stats", json={}).json()["totalVectorCount"]

    assert found["matches"][0]["id"] == "v7"
    assert found == again == kept
    assert health["status"] == "ok"
    assert (status, said.count("\n"), "is open in process" in said) == (2, 1, True)
    assert (ended, count) == (0, 60)


def test_a_missing_library_is_told_before_serving(monkeypatch):
    """With the command that brings it; another store needs none of them."""
    monkeypatch.setattr(vectors, "_NEEDED", ("numba", "no_such_library"))

    with pytest.raises(
        ConfigError, match=r"no_such_library not installed; pip install 'paceline\[vectors\]'"
    ) as caught:
        check_vectors(VectorsPolicy(folder="collections"))

    assert caught.value.param == "vectors.folder"
    check_vectors(VectorsPolicy(backend="qdrant", url="http://127.0.0.1:6333"))


def test_a_folder_that_cannot_be_is_refused(tmp_path, state_dir):
    """In one line, before anything listens."""
    (tmp_path / "file").write_text("")
    status, said = refused(
        "--port",
        "0",
        "--vectors",
        str(tmp_path / "file"),
        "--set",
        "embed.model=",
        "--set",
        f"serve.state_dir={state_dir}",
    )

    assert (status, said.count("\n")) == (2, 1)
    assert "vectors.folder" in said


def test_another_store_needs_its_address(state_dir):
    """A setting alone that cannot do."""
    status, said = refused("--set", "vectors.backend=qdrant", "--set", f"serve.state_dir={state_dir}")

    assert (status, "vectors.url" in said) == (2, True)

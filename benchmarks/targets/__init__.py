"""Servers of known timing to measure load generators with: a C responder, compiled when first needed, and nginx.

    with responder("delay", delay_us=10_000) as target:
        ...target.url, target.stats()

The target has core 1 and the generator core 0; `pinned` makes the prefix of a command.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.launch import HOME

SOURCE = Path(__file__).with_name("responder.c")
GENERATOR_CORE, TARGET_CORE = 0, 1


@dataclass(frozen=True)
class Target:
    """A server under load."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def stats(self) -> dict[str, Any]:
        """Of the responder: requests and their rate, streams, CPU seconds, and microseconds its answers left after they were due."""
        with urllib.request.urlopen(self.url + "_stats", timeout=10) as answer:
            return json.load(answer)


def pinned(core: int | None) -> list[str]:
    """Prefix of a command that shall run on one core; empty for None, or where there is no such core."""
    if core is None or core not in os.sched_getaffinity(0):
        return []
    return ["taskset", "-c", str(core)]


def compiled() -> Path:
    """The responder's program, made with gcc once for each version of its source."""
    program = HOME / "targets" / f"responder-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        partial = program.with_suffix(f".{os.getpid()}")
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", partial, SOURCE], check=True)
        partial.rename(program)
    return program


@contextlib.contextmanager
def responder(mode: str, *, core: int | None = TARGET_CORE, **options: int) -> Iterator[Target]:
    """`mode` is immediate, delay, freeze or sse; `options` are its flags, such as `gap_us=10_000`."""
    flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = [*pinned(core), str(compiled()), "--mode", mode, *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, process.pid, -20)  # what else runs here must not make it late
        try:
            assert process.stdout is not None
            yield Target(int(process.stdout.readline()), process)
        finally:
            process.kill()


_NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 8192; multi_accept on; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog=8192; default_type text/plain; location / {{ return 200 "ok\\n"; }} }}
}}
"""


@contextlib.contextmanager
def nginx(*, core: int | None = TARGET_CORE) -> Iterator[Target]:
    """nginx with one process that says `return 200`."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    assert Path(program).exists(), "apt-get install nginx-light"
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(_NGINX.format(folder=folder, port=port))
        command = [*pinned(core), program, "-p", folder, "-c", str(configuration)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                _wait_for(port, process)
                yield Target(port, process)
            finally:
                process.kill()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while True:
        assert process.poll() is None, f"the target ended with {process.returncode}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)

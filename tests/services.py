"""Real services for tests: nginx, and a redis-server of our own in a temporary folder, behind a unix socket."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


class RedisServer:
    """A redis-server process that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers; does nothing when it runs."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            [
                *("redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", ""),
                *("--appendonly", "no", "--dir", str(self.socket.parent), "--daemonize", "no"),
            ],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:  # ends when the process does
            if b"ready to accept connections" in line.lower():
                break
        self.command("PING")

    def command(self, *words: str) -> bytes:
        """Send one command in the inline form; the first line of the answer, or a bulk answer's bytes."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(str(self.socket))
            link.sendall(" ".join(words).encode() + b"\r\n")
            with link.makefile("rb") as answer:
                head = answer.readline().strip()
                return answer.read(int(head[1:])) if head[:1] == b"$" and head != b"$-1" else head

    def stop(self) -> None:
        """Kill it, as a crash would; its memory is gone."""
        if self._process is not None:
            self.resume()
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def hang(self) -> None:
        """Keep its sockets open but answer nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """End `hang`."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


def program(name: str, *, package: str, required_by: str) -> str:
    """The path of an installed program; without it the test is skipped, or fails where a variable is 1."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        message = f"no {name} on this host; install it with: apt-get install {package}"
        if os.environ.get(required_by) == "1":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return path


@pytest.fixture
def free_url() -> str:
    """The URL of a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="session")
def nginx() -> str:
    """The path of nginx."""
    return program("nginx", package="nginx-light", required_by="PACELINE_REQUIRE_NGINX")


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    """The session's redis-server; tests take `redis_server`, which is running and empty."""
    program("redis-server", package="redis-server", required_by="PACELINE_REQUIRE_REDIS")
    with tempfile.TemporaryDirectory(
        prefix="paceline-redis-"
    ) as folder:  # short: socket paths end at 107 bytes
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def redis_server(redis_process: RedisServer) -> Iterator[RedisServer]:
    """A running redis-server without any key; a test may stop, hang and restart it."""
    redis_process.start()
    redis_process.command("FLUSHALL")
    redis_process.command("SCRIPT", "FLUSH")
    yield redis_process
    redis_process.start()
    redis_process.resume()

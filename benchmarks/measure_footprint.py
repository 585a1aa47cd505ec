"""What `paceline measure` weighs: `python benchmarks/measure_footprint.py [--quick]`.

Claim: imported in less than 0.3 s, less than 30 MB of installed distributions, memory flat over a run of 1,000,000
requests. The control of the first is an interpreter that does nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load import machine
from benchmarks.peers.load_testers.contestants import ours
from benchmarks.peers.load_testers.rounds import spread, table
from benchmarks.targets import responder

IMPORTS = "import paceline.cli.measure, paceline.measure.session"
RATE = 10_000

# Runs in an interpreter of its own: what was imported, and how much the distributions that hold it put on the disk.
# What any interpreter of this environment imports by itself does not count.
SIZES = (
    "import sys; before = set(sys.modules)\n"
    + IMPORTS
    + """
tops = {name.partition(".")[0] for name in sys.modules.keys() - before}
import json, pathlib
from importlib import metadata
owners = metadata.packages_distributions()
sizes = {}
for name in sorted({owner for top in tops for owner in owners.get(top, ())} - {"paceline"}):
    files = metadata.distribution(name).files or []
    sizes[name] = sum(path.stat().st_size for path in {file.locate().resolve() for file in files} if path.is_file())
import paceline
sources = pathlib.Path(paceline.__file__).parent.rglob("*")
sizes["paceline (all of it)"] = sum(path.stat().st_size for path in sources if path.suffix != ".pyc" and path.is_file())
print(json.dumps(sizes))
"""
)


def timed(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return 1e3 * (time.perf_counter() - started)


def imports(rounds: int) -> None:
    commands = {
        "python that does nothing": ("-c", "pass"),
        "import of the command": ("-c", IMPORTS),
        "paceline measure --help": ("-m", "paceline", "measure", "--help"),
    }
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            took[name].append(timed(*command))
    for values in took.values():
        del values[0]  # made the .pyc files
    bare = statistics.median(took["python that does nothing"])
    rows = [
        [name, spread(values, 0), f"{statistics.median(values) - bare:,.0f}"] for name, values in took.items()
    ]
    table(["start", "ms", "above bare Python"], rows)


def sizes() -> None:
    found = json.loads(subprocess.run([sys.executable, "-c", SIZES], check=True, capture_output=True).stdout)
    rows = [[name, f"{size / 1e6:.2f}"] for name, size in sorted(found.items(), key=lambda item: -item[1])]
    table(["installed", "MB"], [*rows, ["in all", f"{sum(found.values()) / 1e6:.2f}"]])


def memory(requests: int) -> None:
    """All processes of the run together, looked at twice a second."""
    with responder("delay", delay_us=1_000) as target:
        flags = (
            "--rate",
            str(RATE),
            "--duration",
            f"{requests / RATE:g}s",
            "--arrivals",
            "constant",
            "--task",
            "http",
        )
        figures = ours(target, *flags, timeout_s=3 * requests / RATE + 60)
    assert figures.watched is not None
    samples = [sample for sample in figures.watched.samples if sample.timed]
    rows = []
    for share in (0.1, 0.25, 0.5, 0.75, 0.95):
        sample = next(sample for sample in samples if sample.timed >= share * samples[-1].timed)
        rows.append([f"{sample.timed:,} answered", f"{sample.rss_bytes / 1e6:.1f}"])
    rows.append(["most, the report included", f"{max(sample.rss_bytes for sample in samples) / 1e6:.1f}"])
    table([f"resident memory at {RATE:,}/s", "MB"], rows)
    print(f"p50 {figures.p50_ms} ms, p99 {figures.p99_ms} ms; {figures.said}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="50,000 requests, one round")
    given = parser.parse_args()
    if given.quick:
        given.requests, given.rounds = 50_000, 1
    print(machine())
    imports(given.rounds)
    sizes()
    memory(given.requests)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Record a day of one replica: `python benchmarks/record_day.py [--seed 20] [--speed 60] [--minutes 1440]`.

`paceline serve` with one engine thread, pinned to one core (a replica is one core), answers embedding requests of 16
words without a cache, while `paceline measure` on the other core replays a seeded trace: a night, a working day, noise
that lasts some minutes, and twenty minutes in the evening at the replica's limit. At 60x a second stands for
a minute. What is written for each minute was measured: requests due, processor and memory of the server's processes,
queue depth on its metrics page (one look), and p95 over the requests due in that minute, from when they were due.

The result is `benchmarks/data/recorded_day.csv`; `autoscale_day.py` replays it. Takes 24 minutes.
"""

from __future__ import annotations

import argparse
import csv
import math
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import psutil
from load import machine, paceline_server

from paceline import __version__
from paceline.measure.records.record import RunFile
from paceline.measure.records.record_file import read

FILE = Path(__file__).parent / "data" / "recorded_day.csv"
NIGHT, NOON, SPIKE = 40.0, 380.0, 540.0
"""Requests per second at the lowest, at the highest, and in the spike."""
SPIKE_AT, SPIKE_MINUTES = 1190, 20
COLUMNS = ("minute", "offered_per_s", "cpu_percent", "memory_mb", "queue_depth", "p95_ms", "failed")


def rates(seed: int, minutes: int) -> list[float]:
    """Requests per second, minute by minute."""
    draw = Random(seed)
    noise, wanted = 0.0, []
    for minute in range(minutes):
        noise = 0.8 * noise + draw.gauss(0.0, 0.05)
        height = (1 - math.cos(2 * math.pi * (minute - 180) / 1440)) / 2  # lowest at 3:00, highest at 15:00
        rate = (NIGHT + (NOON - NIGHT) * height**1.2) * math.exp(noise)
        if SPIKE_AT <= minute < SPIKE_AT + SPIKE_MINUTES:
            rate = SPIKE * math.exp(noise / 4)
        wanted.append(rate)
    return wanted


def write_trace(path: Path, wanted: list[float], seed: int, speed: float) -> None:
    """Poisson arrivals; a minute of the day lasts 60 / speed seconds and keeps its rate."""
    draw = Random(seed + 1)
    span_s = 60 / speed
    with path.open("w", encoding="utf-8") as file:
        file.write("timestamp_s\n")
        file.write("0.000000\n")  # the replay begins with the first arrival: let that be midnight
        for minute, rate in enumerate(wanted):
            at_s = minute * span_s + draw.expovariate(rate)
            while at_s < (minute + 1) * span_s:
                file.write(f"{at_s:.6f}\n")
                at_s += draw.expovariate(rate)


def p95(latencies_ms: list[float]) -> float | None:
    """The smallest value that 95 % do not exceed; None without any."""
    ordered = sorted(latencies_ms)
    return ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else None


def minutes_of(run: RunFile, minutes: int, span_s: float) -> list[list[str]]:
    """One row a minute, as `COLUMNS`; an empty cell was not measured."""
    latencies: list[list[float]] = [[] for _ in range(minutes)]
    due, failed = [0] * minutes, [0] * minutes
    columns = run.columns
    for intended_ns, last_ns, failure in zip(
        columns.intended_ns, columns.last_ns, columns.failure, strict=True
    ):
        minute = min(int(intended_ns / 1e9 / span_s), minutes - 1)
        due[minute] += 1
        if failure:
            failed[minute] += 1
        else:
            latencies[minute].append((last_ns - intended_ns) / 1e6)
    rows = []
    for minute in range(minutes):
        # A look tells of the time before it: the one nearest to the minute's end is the minute's.
        look = min(run.server, key=lambda sample: abs(sample.at_s - (minute + 1) * span_s))
        if abs(look.at_s - (minute + 1) * span_s) > span_s:
            look = None
        measured = (
            look and look.cpu_percent,
            look and look.memory_bytes and look.memory_bytes / 1e6,
            look and look.queue_depth,
            p95(latencies[minute]),
        )
        cells = ["" if value is None else f"{value:.1f}" for value in measured]
        rows.append([str(minute), f"{due[minute] / span_s:.1f}", *cells, str(failed[minute])])
    return rows


def prefer(pid: int, nice: int) -> None:
    """Weigh the session of `pid` against other sessions, as `nice` weighs a process inside its own."""
    if nice:
        Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="ascii")


def main() -> None:
    """Record, and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--minutes", type=int, default=1440)
    parser.add_argument("--output", type=Path, default=FILE)
    parser.add_argument("--nice", type=int, default=0, help="-10 (as root) when others use the machine")
    options = parser.parse_args()
    span_s, host = 60 / options.speed, machine()
    with tempfile.TemporaryDirectory() as folder:
        trace, records = Path(folder) / "day.csv", Path(folder) / "day.records"
        write_trace(trace, rates(options.seed, options.minutes), options.seed, options.speed)
        psutil.Process().cpu_affinity([0])
        settings = ("cache.enabled=false", "embed.threads=1", "embed.streams=1")
        with paceline_server(*settings, cores="1") as server:
            prefer(server.process.pid, options.nice)
            command = [
                sys.executable,
                "-m",
                "paceline",
                "measure",
                "--url",
                server.url,
                "--trace",
                str(trace),
            ]
            command += ["--records", str(records), "--keep-going", "--json"]
            # An exit status of 1 says that the SLO was missed, as it must be in the spike.
            measuring = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
            prefer(measuring.pid, options.nice)
            measuring.wait()
        rows = minutes_of(read(records), options.minutes, span_s)
    options.output.parent.mkdir(exist_ok=True)
    with options.output.open("w", encoding="utf-8", newline="") as file:
        file.write(
            f"# One replica on one core, {datetime.now(UTC):%Y-%m-%d}, {host}, Paceline {__version__}; "
            f"all-MiniLM-L6-v2, 16 words a request, no cache. python benchmarks/record_day.py --seed {options.seed} "
            f"--speed {options.speed:g} --nice {options.nice}. Other programs used the cores as well.\n"
        )
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(rows)
    print(f"{options.output}: {len(rows)} minutes")


if __name__ == "__main__":
    main()

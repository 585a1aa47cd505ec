"""Our engine beside llama.cpp, openvino-genai, vLLM and transformers on the same random weights, in turns.

    python -m benchmarks.peers.generate_environments       # once
    python benchmarks/generate_models.py --out DIR         # once, with the package gguf installed
    python benchmarks/generate_throughput.py --models DIR [--size 400m 15m] [--class int8 bf16 int4] [--points 1 8 32]
        [--rounds 3] [--tries 3] [--contestants NAME ...] [--json FILE]

Two threads each, prompt 128, 128 greedy tokens, all requests at once; tokens per second are all generated tokens over
the time until the last, prompts included (`peers/generate_contest.py`). Each contestant is a process that lives for all
rounds; those that wait are stopped by signal, so that no spinning thread of theirs is measured. Per point: median over
the rounds, least and most, and the ratio of ours to the best peer of the same class. A reading during which other
processes took more than a tenth of a core is taken again, `--tries` in all, and marked with * if it stays so. The last column is
the share of first tokens that agree with the first contestant of the class: quantisation may differ, garbage may not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load import machine

from benchmarks.generate_models import SIZES
from benchmarks.peers.generate_contest import POINTS
from benchmarks.peers.generate_environments import ENVIRONMENTS

HERE = Path(__file__).resolve().parent
DISTURBED = 0.1


@dataclass(frozen=True)
class Contestant:
    script: str
    """Relative to this folder."""
    precision: str
    kind: str
    """Class of precision: compared within it."""
    environment: str = ""
    """Name of a peer's environment; empty is ours."""

    @property
    def python(self) -> str:
        return str(ENVIRONMENTS[self.environment].python) if self.environment else sys.executable

    @property
    def ours(self) -> bool:
        return not self.environment


CONTESTANTS = {
    "paceline int8": Contestant("generate_ours.py", "int8", "int8"),
    "llama.cpp q8_0": Contestant("peers/generate_llama_cpp.py", "q8_0", "int8", "generate"),
    "openvino-genai q8_0": Contestant("peers/generate_openvino_genai.py", "q8_0", "int8", "generate"),
    "openvino-genai int8": Contestant("peers/generate_openvino_genai.py", "int8", "int8", "generate"),
    "paceline bf16": Contestant("generate_ours.py", "bf16", "bf16"),
    "llama.cpp bf16": Contestant("peers/generate_llama_cpp.py", "bf16", "bf16", "generate"),
    "openvino-genai f16": Contestant("peers/generate_openvino_genai.py", "f16", "bf16", "generate"),
    "vllm bf16": Contestant("peers/generate_vllm.py", "bf16", "bf16", "generate-vllm"),
    "transformers bf16": Contestant("peers/generate_transformers.py", "bf16", "bf16", "generate"),
    "paceline int4": Contestant("generate_ours.py", "int4", "int4"),
    "llama.cpp q4_0": Contestant("peers/generate_llama_cpp.py", "q4_0", "int4", "generate"),
    "openvino-genai q4_0": Contestant("peers/generate_openvino_genai.py", "q4_0", "int4", "generate"),
}


@dataclass
class Running:
    """A contestant's process, stopped whenever it is not its turn."""

    process: subprocess.Popen[str]
    identity: dict[str, Any]
    readings: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def read(self, concurrency: int, seed: int, tries: int) -> dict[str, Any]:
        os.killpg(self.process.pid, signal.SIGCONT)
        for turn in range(tries):
            order = {"concurrency": concurrency, "seed": 1000 * seed + turn}
            reading = _ask(self.process, json.dumps(order))
            if reading["others"] <= DISTURBED:
                break
        os.killpg(self.process.pid, signal.SIGSTOP)
        self.readings.setdefault(concurrency, []).append(reading)
        return reading

    def rates(self, concurrency: int) -> list[float]:
        return [reading["tokens_per_s"] for reading in self.readings[concurrency]]


def _ask(process: subprocess.Popen[str], line: str = "") -> dict[str, Any]:
    """The next line of JSON it prints, after `line` was written to it."""
    assert process.stdin is not None
    assert process.stdout is not None
    if line:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"a contestant ended with {process.wait()}; its log has the reason")
    return json.loads(answer)


@contextlib.contextmanager
def started(name: str, models: Path, size: str) -> Iterator[Running]:
    """The contestant, loaded and stopped."""
    contestant = CONTESTANTS[name]
    command = [contestant.python, str(HERE / contestant.script), "--model", str(models / size)]
    command += ["--precision", contestant.precision, "--serve"]
    log = models / f"{name.replace(' ', '-')}-{size}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        running = Running(process, _ask(process))
        os.killpg(process.pid, signal.SIGSTOP)
        yield running
    except RuntimeError as error:
        raise RuntimeError(f"{name}: {error}: {log}") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def compare(names: list[str], size: str, asked: argparse.Namespace) -> dict[str, Running]:
    """All readings of one model."""
    with contextlib.ExitStack() as stack:
        found = {name: stack.enter_context(started(name, asked.models, size)) for name in names}
        for turn in range(asked.rounds):
            for point in asked.points:
                for name, running in found.items():
                    reading = running.read(point, turn + asked.seed, asked.tries)
                    print(f"  {size}, round {turn + 1}: {name} at {point}: {_shown(reading)}", flush=True)
    return found


def _shown(reading: dict[str, Any]) -> str:
    mark = "*" if reading["others"] > DISTURBED else ""
    return (
        f"{reading['tokens_per_s']:.1f}{mark} tokens/s, first token {reading['first_p50_s'] * 1e3:.0f} ms, "
        f"prefill {reading['prefill_tokens_per_s']:.0f} tokens/s"
    )


def report(size: str, found: dict[str, Running], points: list[int]) -> None:
    print(f"\n{size}, tokens/s: median (least-most); prefill tokens/s and first token ms at {points[-1]}")
    print(
        f"{'':22}" + "".join(f"{point:>26}" for point in points) + f"{'prefill':>9}{'first':>8}{'agree':>7}"
    )
    for kind in dict.fromkeys(CONTESTANTS[name].kind for name in found):
        rows = {name: running for name, running in found.items() if CONTESTANTS[name].kind == kind}
        reference = next(iter(rows.values()))
        for name, running in rows.items():
            cells = []
            for point in points:
                rates = running.rates(point)
                mark = "*" if any(one["others"] > DISTURBED for one in running.readings[point]) else ""
                cells.append(f"{statistics.median(rates):.1f} ({min(rates):.1f}-{max(rates):.1f}){mark}")
            last = running.readings[points[-1]]
            prefill = statistics.median(one["prefill_tokens_per_s"] for one in last)
            first_ms = statistics.median(one["first_p50_s"] for one in last) * 1e3
            print(
                f"{name:22}" + "".join(f"{cell:>26}" for cell in cells) + f"{prefill:9.0f}{first_ms:8.0f}"
                f"{agreement(running, reference):7.0%}"
            )
        for name in rows:
            if CONTESTANTS[name].ours:
                print(f"{name + ' / best peer':22}" + "".join(f"{r:>26}" for r in ratios(name, rows, points)))


def agreement(one: Running, reference: Running) -> float:
    """Share of first tokens that are the same, over the readings with the same prompts."""
    pairs = [
        (left, right)
        for point, readings in one.readings.items()
        for mine, theirs in zip(readings, reference.readings[point], strict=True)
        for left, right in zip(mine["firsts"], theirs["firsts"], strict=True)
    ]
    return sum(left == right for left, right in pairs) / len(pairs)


def ratios(name: str, rows: dict[str, Running], points: list[int]) -> list[str]:
    cells = []
    for point in points:
        peers = {
            peer: statistics.median(running.rates(point))
            for peer, running in rows.items()
            if not CONTESTANTS[peer].ours
        }
        if not peers:
            return ["no peer"] * len(points)
        best = max(peers, key=peers.__getitem__)
        cells.append(f"{statistics.median(rows[name].rates(point)) / peers[best]:.2f} {best}")
    return cells


def main() -> None:
    """Print each reading, then the table of each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder made by generate_models.py")
    parser.add_argument("--size", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--class", nargs="+", dest="kinds", default=["int8", "bf16"])
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, help="by name, instead of a class")
    parser.add_argument("--points", type=int, nargs="+", default=list(POINTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="of the first round's prompts")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    names = asked.contestants or [name for name, one in CONTESTANTS.items() if one.kind in asked.kinds]
    names = [name for name in CONTESTANTS if name in names]
    for name in names:
        if not Path(CONTESTANTS[name].python).exists():
            parser.error(
                f"{name} has no environment at {CONTESTANTS[name].python}; python -m benchmarks.peers.generate_environments"
            )
    for size in asked.size:
        if not (asked.models / size / "config.json").exists():
            parser.error(
                f"no model in {asked.models / size}; python benchmarks/generate_models.py --out {asked.models}"
            )
    print(f"{machine()}; {asked.rounds} rounds of prompt 128, generate 128")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no stopped contestant is left behind
    found = {size: compare(names, size, asked) for size in asked.size}
    for name, running in found[asked.size[0]].items():
        versions = ", ".join(f"{part} {number}" for part, number in running.identity["versions"].items())
        print(f"{name}: {versions}, ready after {running.identity['start_s']:.1f} s")
    for size, runs in found.items():
        report(size, runs, asked.points)
    if asked.json:
        contents = {
            "machine": machine(),
            "rounds": asked.rounds,
            "models": {
                size: {name: {**one.identity, "readings": one.readings} for name, one in runs.items()}
                for size, runs in found.items()
            },
        }
        asked.json.write_text(json.dumps(contents, indent=1))


if __name__ == "__main__":
    main()

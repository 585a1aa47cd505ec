"""How long the first second is: `import paceline`, `paceline --help`, and the parts others import.

    python benchmarks/import_time.py [--json]

Median and spread of ten fresh interpreters each, wall and CPU. The control row is an interpreter that imports nothing:
subtract it to see our own share. Targets: `import paceline` < 0.15 s, `paceline --help` < 0.4 s.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

RUNS = 10
COMMANDS = {
    "control: python -c pass": ["-c", "pass"],
    "import paceline": ["-c", "import paceline"],
    "import paceline.client": ["-c", "import paceline.client"],
    "import paceline.settings": ["-c", "import paceline.settings"],
    "paceline --help": ["-m", "paceline", "--help"],
    "paceline version": ["-m", "paceline", "version"],
    "paceline config show": ["-m", "paceline", "config", "show"],
}
TARGETS = {"import paceline": 0.15, "paceline --help": 0.4}


def measure(arguments: list[str]) -> tuple[float, float]:
    """(wall, CPU) seconds of one interpreter."""
    before = os.times()
    started_at = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started_at
    after = os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def main() -> int:
    rows = {}
    for arguments in COMMANDS.values():
        measure(arguments)  # writes the byte code and fills the page cache
    for _ in range(RUNS):  # interleaved, so that a noisy minute hits every row alike
        for name, arguments in COMMANDS.items():
            rows.setdefault(name, []).append(measure(arguments))
    report = {
        name: {
            "wall_s": statistics.median(wall for wall, _ in runs),
            "wall_min_s": min(wall for wall, _ in runs),
            "wall_max_s": max(wall for wall, _ in runs),
            "cpu_s": statistics.median(cpu for _, cpu in runs),
            "target_s": TARGETS.get(name),
        }
        for name, runs in rows.items()
    }
    if "--json" in sys.argv:
        print(json.dumps(report))
    else:
        print(f"{'':28}{'wall s':>8}{'min':>8}{'max':>8}{'CPU s':>8}{'target':>8}")
        for name, row in report.items():
            numbers = "".join(f"{row[key]:8.3f}" for key in ("wall_s", "wall_min_s", "wall_max_s", "cpu_s"))
            print(f"{name:28}{numbers}{row['target_s'] or '':>8}")
    return int(any(report[name]["wall_s"] > target for name, target in TARGETS.items()))


if __name__ == "__main__":
    sys.exit(main())

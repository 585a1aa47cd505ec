"""Every benchmark that needs no peer, one after another: `make bench`. About forty minutes on 2 cores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "footprint",
    "import_time",
    "http_cached_hit",
    "http_vectors",
    "cache_tiers",
    "redis_gather",
    "shared_limit",
    "cache_eviction",
    "batching_curve",
    "overload_simulated",
    "tune_selection",
    "tune_false_promotions",
    "autoscale_day",
    "embed_engine",
    "embed_quality",
    "embed_layout",
    "hangups",
    "overload",
    "serve_embeddings",
    "tune_simulation_rate",
)


def main() -> int:
    """Run them all; the exit status counts those that failed."""
    folder = Path(__file__).parent
    failed = []
    for name in SCRIPTS:
        print(f"\n=== {name}", flush=True)
        if subprocess.run([sys.executable, str(folder / f"{name}.py")], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())

"""Our collections beside hnswlib, faiss, usearch and products, at equal recall: `paceline bench vectors` on a folder.

`python benchmarks/vectors_search.py --folder FOLDER [OPTION ...]` with the base.npy and query.npy of vectors_data.py, or
`--clustered 100000`, or `--clustered 100000 --flat`: clusters without topics, the hard case. Indexes are kept in
FOLDER/bench. Other options are those of the command; `docs/guides/vectors-bench.md` says how it measures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from paceline.cli import run
from paceline.vectors.bench.clustered import clustered


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--clustered", type=int, default=0)
    arguments.add_argument("--flat", action="store_true")
    asked, options = arguments.parse_known_args()
    base, queries = asked.folder / "base.npy", asked.folder / "query.npy"
    if asked.clustered and not base.exists():
        asked.folder.mkdir(parents=True, exist_ok=True)
        for file, vectors in zip((base, queries), clustered(asked.clustered, flat=asked.flat), strict=True):
            np.save(file, vectors)
    command = ["bench", "vectors", "--data", str(base), "--queries", str(queries)]
    return run([*command, "--folder", str(asked.folder / "bench"), *options])


if __name__ == "__main__":
    sys.exit(main())

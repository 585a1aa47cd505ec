"""Vectors to search: `python benchmarks/vectors_data.py /usr/share/wordnet FOLDER` (Debian's wordnet-base), some minutes.

Writes base.npy and query.npy: all glosses of WordNet embedded with the demo model in bf16, shuffled, the last 2,000 held
out as queries. `clustered` (`paceline.vectors.bench.clustered`) makes synthetic ones.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import numpy as np

from paceline.vectors.bench.clustered import clustered

__all__ = ["clustered", "embedded", "glosses"]

HELD_OUT = 2000


def glosses(folder: Path) -> list[str]:
    """Every gloss, in an order that is always the same."""
    found = []
    for part in ("noun", "verb", "adj", "adv"):
        lines = (folder / f"data.{part}").read_text("utf-8").splitlines()
        rows = [
            line for line in lines if not line.startswith("  ") and " | " in line
        ]  # the licence is indented
        found += [" ".join(line.split(" | ", 1)[1].split()) for line in rows]
    random.Random(1).shuffle(found)
    return found


def embedded(texts: list[str]) -> np.ndarray:
    """Vectors (texts, 384) of the demo model, texts of like length together."""
    from paceline.embed.folder import open_folder
    from paceline.embed.layout import Layout, usable_cores
    from paceline.embed.openvino_engine import OpenVinoEngine
    from paceline.embed.tokens import Tokens

    folder = open_folder("demo")
    ids = [item.ids for item in Tokens(folder).encode(texts)]
    order = np.argsort([len(item) for item in ids], kind="stable")
    with tempfile.TemporaryDirectory() as state:
        engine = OpenVinoEngine(folder, Layout(1, usable_cores(), 512, 8, "bf16"), Path(state))
        vectors = np.zeros((len(ids), engine.dimensions), np.float32)
        for start in range(0, len(order), 32):
            chosen = order[start : start + 32]
            vectors[chosen] = engine.run([ids[i] for i in chosen])
    return vectors


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("wordnet", type=Path)
    arguments.add_argument("folder", type=Path)
    asked = arguments.parse_args()
    vectors = embedded(glosses(asked.wordnet))
    asked.folder.mkdir(parents=True, exist_ok=True)
    np.save(asked.folder / "base.npy", vectors[:-HELD_OUT])
    np.save(asked.folder / "query.npy", vectors[-HELD_OUT:])
    print(f"{len(vectors) - HELD_OUT} vectors and {HELD_OUT} queries in {asked.folder}", file=sys.stderr)


if __name__ == "__main__":
    main()

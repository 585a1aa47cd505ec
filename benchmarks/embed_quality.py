"""What each precision costs in quality, against fp32 on real text: `python benchmarks/embed_quality.py [--texts 2000]`.

Cosine between a text's vectors, and how many of its ten nearest texts stay the ten nearest. The texts are WordNet
glosses, which int8 was not calibrated on. The control row is fp32 on other batches, which should change nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from load import GLOSSES, machine

from paceline.embed.folder import open_folder
from paceline.embed.layout import Layout, Precision, usable_cores
from paceline.embed.openvino_engine import OpenVinoEngine
from paceline.embed.tokens import Tokens


def embed(engine: OpenVinoEngine, texts: list[np.ndarray], rows: int) -> np.ndarray:
    """Vectors (texts, dimensions) in batches of `rows` neighbours in length."""
    order = np.argsort([len(ids) for ids in texts], kind="stable")
    vectors = np.zeros((len(texts), engine.dimensions), np.float32)
    for start in range(0, len(texts), rows):
        chosen = order[start : start + rows]
        vectors[chosen] = engine.run([texts[index] for index in chosen])
    return vectors


def nearest(vectors: np.ndarray, count: int = 10) -> np.ndarray:
    """Indices (texts, count) of each text's nearest others."""
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -np.inf)
    return np.argpartition(-similar, count, axis=1)[:, :count]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--texts", type=int, default=2000)
    asked = arguments.parse_args()
    folder = open_folder("demo")
    glosses = [line.split("\t")[2] for line in GLOSSES.read_text("utf-8").splitlines()[: asked.texts]]
    texts = [item.ids for item in Tokens(folder).encode(glosses)]
    cores = usable_cores()
    rows: list[tuple[str, Precision, int]] = [
        ("fp32 (control)", "fp32", 5),
        ("bf16", "bf16", 16),
        ("int8", "int8", 16),
    ]
    print(f"{machine()}; {len(texts)} glosses")
    print(f"{'':16}{'cosine min':>12}{'mean':>10}{'top-10 overlap min':>20}{'mean':>8}")
    with tempfile.TemporaryDirectory() as state:

        def engine(precision: Precision) -> OpenVinoEngine:
            return OpenVinoEngine(folder, Layout(1, cores, 512, 8, precision), Path(state))

        exact = embed(engine("fp32"), texts, 16)
        neighbours = nearest(exact)
        for name, precision, batch_rows in rows:
            vectors = embed(engine(precision), texts, batch_rows)
            cosine = (vectors * exact).sum(axis=1)
            pairs = zip(neighbours, nearest(vectors), strict=True)
            overlap = np.array([len(set(one) & set(other)) / len(one) for one, other in pairs])
            print(
                f"{name:16}{cosine.min():12.5f}{cosine.mean():10.5f}{overlap.min():20.2f}{overlap.mean():8.3f}"
            )


if __name__ == "__main__":
    main()

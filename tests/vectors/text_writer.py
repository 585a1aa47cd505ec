"""A process that writes records with texts until it is killed: `python text_writer.py FOLDER FIRST`.

What operation n does follows from its number, so what a collection holds after n of them is known. It says `n` when
operation n is acknowledged. Seals come every few writes, so that it is killed in all places between log and texts.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np

from paceline.vectors.collection import Collection
from paceline.vectors.policy import Schema, UpkeepPolicy, VectorsPolicy

SCHEMA = Schema(dimensions=4, text_field="text")
POLICY = VectorsPolicy(upkeep=UpkeepPolicy(seal_rows=64, graph_rows=10_000))
IDS = 60
BATCH = 12

State = dict[str, int]
"""By id, the operation that wrote the record."""


def operation(number: int) -> tuple[bool, list[str]]:
    """Whether it deletes, and the ids it is about."""
    draw = random.Random(number)
    return draw.random() < 0.2, [f"v{one}" for one in draw.sample(range(IDS), BATCH)]


def after(state: State, number: int) -> State:
    """The records after one operation more."""
    deletes, ids = operation(number)
    kept = {name: by for name, by in state.items() if name not in ids}
    return kept if deletes else kept | dict.fromkeys(ids, number)


def write(folder: Path, number: int) -> None:
    """Write for ever, and search now and then, so that texts are committed at other moments than seals."""
    collection = Collection.open(folder, policy=POLICY)
    while True:
        deletes, ids = operation(number)
        if deletes:
            collection.delete(ids)
        else:
            metadata = [{"text": f"all op{number}"}] * len(ids)
            collection.upsert_arrays(ids, np.ones((len(ids), 4), np.float32), metadata)
        if number % 5 == 0:
            collection.by_words("all", 1)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))

"""Make glosses.tsv from Debian's wordnet-base: `python examples/wordnet/make.py /usr/share/wordnet`.

6,000 synsets drawn with a fixed seed, a third of the noun share traded for verbs and adjectives so that lengths
and subjects vary. Columns: synset id, first lemma, gloss (definition and examples).
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

SHARE = {"noun": 3000, "verb": 1500, "adj": 1200, "adv": 300}


def synsets(path: Path, letter: str) -> list[tuple[str, str, str]]:
    """Every synset of one data file as (id, lemma, gloss)."""
    rows = []
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("  ") or " | " not in line:
            continue  # the licence stands at the top of the file
        head, gloss = line.split(" | ", 1)
        fields = head.split()
        rows.append((f"{letter}{fields[0]}", fields[4].replace("_", " "), " ".join(gloss.split())))
    return rows


def main() -> None:
    """Write the sample beside this script."""
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/wordnet")
    draw = random.Random(2026)
    sample = []
    for part, count in SHARE.items():
        sample += draw.sample(synsets(source / f"data.{part}", part[0]), count)
    draw.shuffle(sample)
    target = Path(__file__).with_name("glosses.tsv")
    target.write_text("".join("\t".join(row) + "\n" for row in sample), "utf-8")
    print(f"{len(sample)} glosses, {target.stat().st_size} bytes -> {target.name}")


if __name__ == "__main__":
    main()

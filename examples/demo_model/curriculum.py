"""The demo model's lessons: dialogues, pages of its world, natural text, and which of them are held out.

Nothing here is drawn from outside but the three old books in `texts/`. `python curriculum.py` prints a few lessons.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skills import (
    SKILLS,
    Example,
    Turn,
    addition,
    compare,
    copy,
    courtesy,
    first_letter,
    plain_facts,
    product,
    remember,
    reverse,
    sort_numbers,
    sort_words,
    subtraction,
)
from world import NOUNS, PLAIN, WORLD

Split = Literal["train", "test"]
TEXTS = Path(__file__).parent / "texts"
HELD_OUT = 10
"""One problem in so many, and one piece of text in so many, is for the test."""
PIECE_CHARS = 2000
"""Length of the pieces into which a book is cut before some are held out."""
SMALL = (compare, copy, courtesy, first_letter, plain_facts)
"""What may come between telling something and asking for it."""
DRILL_LINES = 20
LIST_LINES = 8
MIXTURE = {"chat": 60, "questionnaire": 13, "drill": 12, "lists": 8, "page": 3, "reading": 4}
"""Lessons of each kind in a hundred."""
SYSTEM = "You are the small demo model of Paceline. Answer briefly."


@dataclass(frozen=True)
class Part:
    """A stretch of a lesson: text, and whether the model is to learn to write it."""

    text: str
    learnt: bool


def split_of(skill: str, key: str) -> Split:
    """Where a problem belongs. It depends on the problem alone, so no phrasing of it can be in both."""
    return "test" if zlib.crc32(f"{skill}/{key}".encode()) % HELD_OUT == 0 else "train"


def family(skill: Callable[[random.Random], Example]) -> str:
    """The name under which a skill's keys are split: sums are the same problems with steps or without."""
    return skill.__name__.removesuffix("_in_steps")


def draw(skill: Callable[[random.Random], Example], rng: random.Random, split: Split) -> Example:
    """An example of this split. Courtesies are learnt by heart and the same in both."""
    example = skill(rng)
    while skill is not courtesy and split_of(family(skill), example.key) != split:
        example = skill(rng)
    if skill is not remember:
        return example
    between = [
        turn for other in rng.choices(SMALL, k=rng.randint(0, 2)) for turn in draw(other, rng, "train").turns
    ]
    return Example(example.key, (example.turns[0], *between, example.turns[1]))


def dialogue(rng: random.Random) -> list[Turn]:
    """One to six turns of skills of the training split, each question standing for itself."""
    skills = rng.choices(list(SKILLS), list(SKILLS.values()), k=rng.randint(1, 6))
    return [turn for skill in skills for turn in draw(skill, rng, "train").turns]


def chat(turns: list[Turn], system: str | None = None) -> list[Part]:
    """The dialogue as the chat template writes it (`tokenizer_config.json` says the same in jinja)."""
    parts = [Part("<|bos|>", learnt=False)]
    if system is not None:
        parts.append(Part(f"<|im_start|>system\n{system}<|im_end|>\n", learnt=False))
    for turn in turns:
        parts.append(
            Part(f"<|im_start|>user\n{turn.question}<|im_end|>\n<|im_start|>assistant\n", learnt=False)
        )
        parts.append(Part(f"{turn.answer}<|im_end|>", learnt=True))
        parts.append(Part("\n", learnt=False))
    return parts


def questionnaire(turns: list[Turn]) -> list[Part]:
    """The same without a chat's marks, as a bare completion is asked for it."""
    parts = [Part("<|bos|>", learnt=False)]
    for turn in turns:
        parts += [Part(f"Q: {turn.question}\nA:", learnt=False), Part(f" {turn.answer}\n", learnt=True)]
    return [*parts, Part("<|eos|>", learnt=True)]


def drill(rng: random.Random) -> list[Part]:
    """Twenty lines of bare arithmetic: of all lessons the densest, for what is learnt most slowly."""
    parts = [Part("<|bos|>", learnt=False)]
    for _ in range(DRILL_LINES):
        skill, sign = rng.choice(
            ((addition, "+"), (addition, "+"), (subtraction, "-"), (subtraction, "-"), (product, "*"))
        )
        example = draw(skill, rng, "train")
        a, b = example.numbers
        parts += [Part(f"{a} {sign} {b} =", learnt=False), Part(f" {example.turns[0].answer}\n", learnt=True)]
    return [*parts, Part("<|eos|>", learnt=True)]


def lists(rng: random.Random) -> list[Part]:
    """Eight lines of bare lists, said again, turned around or sorted. Long repetitions teach to look back."""
    parts = [Part("<|bos|>", learnt=False)]
    for _ in range(LIST_LINES):
        sign, skill = rng.choice(
            (("=", None), ("=", None), ("=", copy), ("<", reverse), ("^", sort_numbers), ("^", sort_words))
        )
        if skill is None:
            items = answer = " ".join(rng.choices(NOUNS, k=rng.randint(8, 20)))
        else:
            turn = draw(skill, rng, "train").turns[0]
            instruction, items = turn.question.split(": ")
            sign, answer = "v" if "downwards" in instruction else sign, turn.answer
        parts += [Part(f"{items} {sign}", learnt=False), Part(f" {answer}\n", learnt=True)]
    return [*parts, Part("<|eos|>", learnt=True)]


def page(rng: random.Random) -> list[Part]:
    """Ten facts in running text."""
    sentences = []
    for _ in range(10):
        relation = rng.choice(WORLD + WORLD + PLAIN)
        subject, value = rng.choice(list(relation.facts.items()))
        sentences.append(relation.statement.format(s=subject, v=value))
    return [Part("<|bos|>", learnt=False), Part(" ".join(sentences) + "<|eos|>", learnt=True)]


def pieces(split: Split) -> list[str]:
    """The books in pieces of `PIECE_CHARS`; every tenth is held out."""
    rows = []
    for file in sorted(TEXTS.glob("*.txt")):
        text = file.read_text("utf-8")
        rows += [text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS)]
    return [
        piece for number, piece in enumerate(rows) if (number % HELD_OUT == HELD_OUT - 1) == (split == "test")
    ]


def reading(rng: random.Random, books: list[str]) -> list[Part]:
    """A stretch of a book, begun anywhere."""
    piece = rng.choice(books)
    start = rng.randrange(PIECE_CHARS // 2)
    return [Part("<|bos|>", learnt=False), Part(piece[start : start + PIECE_CHARS // 2], learnt=True)]


def lessons(rng: random.Random, books: list[str]) -> Iterator[list[Part]]:
    """Lessons without end, the same for the same `rng`."""
    while True:
        (kind,) = rng.choices(tuple(MIXTURE), tuple(MIXTURE.values()))
        match kind:
            case "chat":
                yield chat(dialogue(rng), SYSTEM if rng.random() < 0.15 else None)
            case "questionnaire":
                yield questionnaire(dialogue(rng))
            case "drill":
                yield drill(rng)
            case "lists":
                yield lists(rng)
            case "page":
                yield page(rng)
            case _:
                yield reading(rng, books)


if __name__ == "__main__":
    source = lessons(random.Random(1), pieces("train"))
    for _ in range(8):
        print("".join(part.text for part in next(source)), end="\n\n---\n\n")

"""What the demo model is to be able to do: one generator for each skill, of questions with one right answer.

A generator takes a random number generator and gives an `Example`. It knows nothing of splits: `curriculum.draw` looks
at the example's key, which names what was asked for whatever the phrasing, and draws again until the split fits.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from world import (
    COLOURS,
    FIRST_NAMES,
    NOUNS,
    PETS,
    PLAIN,
    TRADES,
    WORLD,
    Relation,
    invented_names,
    with_article,
)

KNOWN_NAMES = {subject for relation in WORLD for subject in relation.facts}
NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()


@dataclass(frozen=True)
class Turn:
    """One question and the answer to it."""

    question: str
    answer: str


@dataclass(frozen=True)
class Example:
    """One exchange. In an evaluation only the last answer is judged."""

    key: str
    """What is asked for, the same for every phrasing of the same problem."""
    turns: tuple[Turn, ...]
    numbers: tuple[int, int] = (0, 0)
    """The operands of an arithmetic problem, as they stand in the question."""


def one(key: str, question: str, answer: object, numbers: tuple[int, int] = (0, 0)) -> Example:
    """An exchange of a single turn."""
    return Example(key, (Turn(question, str(answer)),), numbers)


def _fact(rng: random.Random, relations: tuple[Relation, ...]) -> Example:
    """A fact under one of its phrasings. The pair of both is held out, the fact itself is learnt under others."""
    relation = rng.choice(relations)
    subject, value = rng.choice(list(relation.facts.items()))
    number = rng.randrange(len(relation.asked))
    question, answer = (text.format(s=subject, v=value) for text in relation.asked[number])
    return one(f"{relation.name}:{subject}:{number}", question, answer)


def world_facts(rng: random.Random) -> Example:
    """What stands in the invented world."""
    return _fact(rng, WORLD)


def plain_facts(rng: random.Random) -> Example:
    """Capitals, opposites, colours, sounds, legs, units, days."""
    return _fact(rng, PLAIN)


def fact_or_not(rng: random.Random) -> Example:
    """A fact claimed rightly or wrongly; the wrong one is put right."""
    relation = rng.choice(
        [r for r in WORLD + PLAIN if r.statement.startswith("The ") or "'s " in r.statement]
    )
    subject, value = rng.choice(list(relation.facts.items()))
    claim = value if rng.random() < 0.5 else rng.choice(list(relation.facts.values()))
    statement = relation.statement.format(s=subject, v=claim)
    answer = "Yes." if claim == value else f"No. {relation.statement.format(s=subject, v=value)}"
    return one(f"{relation.name}:{subject}:{claim}", f"Is this true? {statement}", answer)


def unknown(rng: random.Random) -> Example:
    """A land or a person nobody has told of."""
    name = invented_names(
        rng, 1, ("nia", "mark", "dor", "via", "s", "ka", "bert", "lis", "mo"), set(KNOWN_NAMES)
    )[0]
    relation = rng.choice(WORLD[:-1])
    question = rng.choice(relation.asked)[0].format(s=name)
    return one(name, question, f"I do not know {name}.")


def addition(rng: random.Random) -> Example:
    """Sums of numbers up to 99."""
    a, b = rng.randrange(100), rng.randrange(100)
    question = rng.choice((f"What is {a} + {b}?", f"{a} + {b} = ?", f"Add {a} and {b}."))
    return one(f"{min(a, b)} {max(a, b)}", question, a + b, (a, b))


def subtraction(rng: random.Random) -> Example:
    """Differences that are not negative."""
    b, a = sorted((rng.randrange(100), rng.randrange(100)))
    question = rng.choice((f"What is {a} - {b}?", f"{a} - {b} = ?", f"Subtract {b} from {a}."))
    return one(f"{a} {b}", question, a - b, (a, b))


def addition_in_steps(rng: random.Random) -> Example:
    """Sums digit by digit, with the carry said aloud. Keys are those of `addition`: the same pairs are held out."""
    a, b = rng.randrange(10, 100), rng.randrange(10, 100)
    ones = a % 10 + b % 10
    carry = ones // 10
    tens = a // 10 + b // 10
    with_carry = f"{a // 10} + {b // 10} + {carry} = {tens + carry}"
    answer = f"Ones: {a % 10} + {b % 10} = {ones}. Tens: {with_carry}. The sum is {a + b}."
    return one(f"{min(a, b)} {max(a, b)}", f"Work out {a} + {b} step by step.", answer)


def product(rng: random.Random) -> Example:
    """The table up to 12. Only pairs a < b can be held out, and b times a is then learnt: a table is known by heart."""
    a, b = rng.randrange(13), rng.randrange(13)
    question = rng.choice((f"What is {a} * {b}?", f"{a} * {b} = ?", f"Multiply {a} by {b}."))
    return one(f"{a} {b}" if a < b else "kept", question, a * b, (a, b))


def compare(rng: random.Random) -> Example:
    """The larger or the smaller of two numbers, or whether one is larger."""
    a, b = rng.sample(range(100), 2)
    larger, smaller = max(a, b), min(a, b)
    question, answer = rng.choice(
        (
            (f"Which is larger, {a} or {b}?", larger),
            (f"Which is smaller, {a} or {b}?", smaller),
            (f"Is {a} larger than {b}?", "Yes." if a > b else "No."),
            (f"Is {a} smaller than {b}?", "Yes." if a < b else "No."),
        )
    )
    return one(f"{smaller} {larger}", question, answer)


def sort_numbers(rng: random.Random) -> Example:
    """Three to five different numbers, upwards or downwards."""
    numbers = rng.sample(range(100), rng.randint(3, 5))
    down = rng.random() < 0.3
    listed = " ".join(map(str, numbers))
    question = (
        f"Sort downwards: {listed}" if down else rng.choice((f"Sort: {listed}", f"Put in order: {listed}"))
    )
    answer = " ".join(map(str, sorted(numbers, reverse=down)))
    return one(" ".join(map(str, sorted(numbers))), question, answer)


def sort_words(rng: random.Random) -> Example:
    """Three to five different words by the alphabet."""
    words = rng.sample(NOUNS, rng.randint(3, 5))
    question = rng.choice(
        (f"Sort by the alphabet: {' '.join(words)}", f"Put in alphabetical order: {' '.join(words)}")
    )
    return one(" ".join(sorted(words)), question, " ".join(sorted(words)))


def first_letter(rng: random.Random) -> Example:
    """The letter with which a word begins."""
    word, number = rng.choice(NOUNS), rng.randrange(3)
    asked = (
        f"What is the first letter of {word}?",
        f"With which letter does {word} begin?",
        f"First letter: {word}",
    )
    return one(f"{word} {number}", asked[number], word[0])


def count_words(rng: random.Random) -> Example:
    """How often a word stands in a row of words, or how many words there are."""
    two = rng.sample(NOUNS, 2)
    row = [rng.choice(two) for _ in range(rng.randint(2, 8))]
    listed = " ".join(row)
    if rng.random() < 0.5:
        return one(listed, f"How many words? {listed}", len(row))
    return one(listed, f"How often does {two[0]} occur? {listed}", row.count(two[0]))


def count_on(rng: random.Random) -> Example:
    """Counting up or down between two numbers, and stopping there."""
    start, length = rng.randrange(90), rng.randint(3, 9)
    numbers = list(range(start, start + length))
    if rng.random() < 0.3:
        numbers.reverse()
    question = rng.choice(("Count from {} to {}.", "Count from {} to {} and stop."))
    return one(f"{start} {length}", question.format(numbers[0], numbers[-1]), " ".join(map(str, numbers)))


def say_and_stop(rng: random.Random) -> Example:
    """A word a given number of times."""
    word, times = rng.choice(NOUNS), rng.randint(1, 8)
    number = rng.choice((str(times), NUMBER_WORDS[times]))
    ending = "time" if times == 1 else "times"
    return one(f"{word} {times}", f"Say {word} {number} {ending}, then stop.", " ".join([word] * times))


def copy(rng: random.Random) -> Example:
    """Words or digits once more."""
    items = _items(rng)
    return one(
        items, rng.choice((f"Repeat: {items}", f"Copy this: {items}", f"Say after me: {items}")), items
    )


def reverse(rng: random.Random) -> Example:
    """Words or digits from the last to the first."""
    items = _items(rng)
    backwards = " ".join(reversed(items.split()))
    return one(items, rng.choice((f"Reverse: {items}", f"Say backwards: {items}")), backwards)


def _items(rng: random.Random) -> str:
    """Three to seven words or digits."""
    pool = NOUNS if rng.random() < 0.6 else tuple("0123456789")
    return " ".join(rng.sample(pool, rng.randint(3, 7)))


def position(rng: random.Random) -> Example:
    """The first, second, third or last of a row."""
    items = rng.sample(NOUNS, rng.randint(3, 6))
    which = rng.choice(("first", "second", "third", "last"))
    answer = items[{"first": 0, "second": 1, "third": 2, "last": -1}[which]]
    return one(" ".join(items), f"What is the {which} word? {' '.join(items)}", answer)


def order_of_people(rng: random.Random) -> Example:
    """Three or four people in a chain of comparisons, told in any order: who is first or last, or which of two is more."""
    names = rng.sample(FIRST_NAMES, rng.randint(3, 4))
    more, less, most, least = rng.choice(
        (
            ("taller", "shorter", "tallest", "shortest"),
            ("older", "younger", "oldest", "youngest"),
            ("faster", "slower", "fastest", "slowest"),
        )
    )
    told = [
        f"{a} is {more} than {b}." if rng.random() < 0.6 else f"{b} is {less} than {a}."
        for a, b in itertools.pairwise(names)
    ]
    rng.shuffle(told)
    i, j = sorted(rng.sample(range(len(names)), 2))
    a, b, yes = (names[i], names[j], "Yes.") if rng.random() < 0.5 else (names[j], names[i], "No.")
    question, answer = rng.choice(
        (
            (f"Who is the {most}?", names[0]),
            (f"Who is the {least}?", names[-1]),
            (f"Is {a} {more} than {b}?", yes),
        )
    )
    return one(f"{more} {' '.join(names)}", f"{' '.join(told)} {question}", answer)


def json_fields(rng: random.Random) -> Example:
    """A sentence's fields as one JSON object."""
    name, age = rng.choice(FIRST_NAMES), rng.randrange(5, 90)
    fields: dict[str, object] = {"name": name, "age": age}
    sentence = f"{name} is {age} years old"
    for key, text, pool in rng.sample(
        (
            ("trade", "works as a {}", TRADES),
            ("pet", "has {}", tuple(map(with_article, PETS))),
            ("colour", "likes {}", COLOURS),
            ("city", "lives in {}", tuple(WORLD[0].facts.values())),
        ),
        rng.randint(1, 2),
    ):
        fields[key] = rng.choice(pool)
        sentence += (" and " if "and" not in sentence.split() else ", ") + text.format(fields[key])
    answer = json.dumps(fields)
    return one(answer, rng.choice((f"As JSON: {sentence}.", f"Write as JSON: {sentence}.")), answer)


def remember(rng: random.Random) -> Example:
    """What somebody said of themselves, asked for later. `curriculum.draw` puts other talk between the turns."""
    name, what = rng.choice(FIRST_NAMES), rng.choice(("name", "colour", "pet", "trade"))
    value = {
        "name": name,
        "colour": rng.choice(COLOURS),
        "pet": rng.choice(PETS),
        "trade": rng.choice(TRADES),
    }[what]
    told, noted, asked, answer = {
        "name": (
            f"Hello, my name is {value}.",
            f"Hello, {value}!",
            "What is my name?",
            f"Your name is {value}.",
        ),
        "colour": (
            f"My favourite colour is {value}.",
            "Noted.",
            "Which colour do I like?",
            f"You like {value}.",
        ),
        "pet": (
            f"I have {with_article(value)}.",
            "How nice!",
            "Which pet do I have?",
            f"You have {with_article(value)}.",
        ),
        "trade": (f"I am a {value}.", "Noted.", "What do I do?", f"You are a {value}."),
    }[what]
    return Example(f"{what} {value}", (Turn(told, noted), Turn(asked, answer)))


def courtesy(rng: random.Random) -> Example:
    """Greetings and thanks."""
    name = rng.choice(FIRST_NAMES)
    question, answer = rng.choice(
        (
            ("Hello!", "Hello! What can I do for you?"),
            ("Good morning.", "Good morning! What can I do for you?"),
            (f"Hello, I am {name}.", f"Hello, {name}!"),
            (f"Good morning, my name is {name}.", f"Good morning, {name}!"),
            ("Thank you.", "You are welcome."),
            (f"Say goodbye to {name}.", f"Goodbye, {name}!"),
            (f"Greet {name}.", f"Hello, {name}!"),
            ("Who are you?", "I am the small demo model of Paceline."),
            ("Goodbye.", "Goodbye!"),
        )
    )
    return one(question, question, answer)


SKILLS: dict[Callable[[random.Random], Example], float] = {
    world_facts: 3.0,
    plain_facts: 2.5,
    fact_or_not: 1.5,
    unknown: 0.5,
    addition: 3.5,
    subtraction: 3.5,
    addition_in_steps: 1.0,
    product: 1.5,
    compare: 1.0,
    sort_numbers: 1.5,
    sort_words: 2.0,
    first_letter: 0.5,
    count_words: 1.2,
    count_on: 0.7,
    say_and_stop: 0.7,
    copy: 0.6,
    reverse: 1.0,
    position: 0.7,
    order_of_people: 1.8,
    json_fields: 0.7,
    remember: 0.7,
    courtesy: 0.3,
}
"""Every skill, and how often it is drawn: more for what a small model learns slowly."""

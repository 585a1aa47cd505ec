"""What the demo model is to know by heart: an invented world, and plain facts of ours.

A `Relation` is a table from subjects to values with the ways in which one asks for it. The world's tables are drawn
with a fixed seed, so they are the same wherever the curriculum is made.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

WORLD_SEED = 7
NOUNS = tuple(
    "apple anchor arrow bag ball barn bell bird boat bone book box bread bridge brush cake camel candle car cat chair "
    "cloud coat comb corn cow crab cup dog door dress drum duck egg engine fan farm feather fish flag fork fox frog "
    "garden gate ghost glass glove goat gold grape grass hammer hat hen hill honey horse house ice ink iron jam jar "
    "jewel juice kettle key king kite knife ladder lake lamp leaf lemon lion map milk mirror moon mouse nail needle nest "
    "net nut ocean oil onion orange oven owl paint paper pear pen piano pig queen quilt rabbit rain ring river road "
    "rope sail salt ship shoe silk snow soap spoon star stone sugar sun table tent tiger torch tree umbrella valley "
    "van vase violin wagon wall watch water wheel wind wolf wood yard zebra".split()
)
"""For lists that are sorted, counted, copied and turned around."""
FIRST_NAMES = tuple(
    "Ada Ben Carl Dora Emma Finn Gina Hugo Ida Jack Kate Leo Mia Nora Oscar Paul Rosa Sam Tina Uma Vera Will Yara Zoe "
    "Adam Bella Cora Dan Ella Fred Grace Hans Iris Jon Karl Lena Max Nina Olga Peter Ruth Simon Tom Victor Anna Bob".split()
)
TRADES = tuple(
    "baker weaver sailor miner doctor teacher potter painter farmer fisher tailor smith cook judge".split()
)
PETS = tuple("cat dog parrot goat rabbit turtle horse owl mouse hen".split())
COLOURS = tuple("red blue green yellow white black orange purple brown grey pink silver".split())


@dataclass(frozen=True)
class Relation:
    """One kind of fact."""

    name: str
    facts: dict[str, str]
    """Subject to value."""
    asked: tuple[tuple[str, str], ...]
    """Question and answer, with {s} for the subject and {v} for the value."""
    statement: str
    """The fact as a sentence, for running text."""


def invented_names(rng: random.Random, count: int, endings: tuple[str, ...], taken: set[str]) -> list[str]:
    """`count` names nobody has, none twice."""
    starts = (
        "Bel Cor Dar Ev Fen Gal Hol Il Jor Kel Lor Mar Nev Or Pel Quin Ral Sel Tor Ul Ven Wil Yor Zan".split()
    )
    middles = "a e i o u an el or im ast ond und eth iv ar".split()
    names: list[str] = []
    while len(names) < count:
        name = rng.choice(starts) + rng.choice(middles) + rng.choice(endings)
        if name not in taken:
            taken.add(name)
            names.append(name)
    return names


def with_article(noun: str) -> str:
    """'a dog', 'an owl'."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def invented_world() -> tuple[Relation, ...]:
    """Sixteen lands, forty people."""
    rng = random.Random(WORLD_SEED)
    taken: set[str] = set()
    lands = invented_names(rng, 16, ("nia", "mark", "dor", "via"), taken)
    cities = invented_names(rng, 16, ("burg", "ton", "haven", "ford"), taken)
    rivers = invented_names(rng, 16, ("wen", "sk", "del", "ra"), taken)
    coins = invented_names(rng, 16, ("lin", "ket", "mun", "zo"), taken)
    people = invented_names(rng, 40, ("s", "ka", "bert", "lis", "mo"), taken)
    flags = [" and ".join(rng.sample(COLOURS, 2)) for _ in lands]
    land, person = "land", "person"
    return (
        _relation("capital", "capital", land, dict(zip(lands, cities, strict=True))),
        _relation("river", "longest river", land, dict(zip(lands, rivers, strict=True))),
        _relation("coin", "coin", land, dict(zip(lands, coins, strict=True))),
        _relation("flag", "flag", land, dict(zip(lands, flags, strict=True))),
        _relation("trade", "trade", person, {p: rng.choice(TRADES) for p in people}),
        _relation("pet", "pet", person, {p: with_article(rng.choice(PETS)) for p in people}),
        _relation("home", "home town", person, {p: rng.choice(cities) for p in people}),
        Relation(
            "land of a capital",
            dict(zip(cities, lands, strict=True)),
            (
                ("Which land has the capital {s}?", "{v}"),
                ("{s} is the capital of which land?", "{v}"),
                ("Where is {s}?", "{s} is in {v}."),
                ("Name the land whose capital is {s}.", "{v}"),
                ("In which land does {s} lie?", "{s} is in {v}."),
            ),
            "{s} lies in {v}.",
        ),
    )


def _relation(name: str, noun: str, kind: str, facts: dict[str, str]) -> Relation:
    """A relation that is asked for by its noun."""
    whose = f"the {noun} of {{s}}" if kind == "land" else f"{{s}}'s {noun}"
    return Relation(
        name,
        facts,
        (
            (f"What is {whose}?", "{v}"),
            (f"Name {whose}.", "{v}"),
            (f"Tell me {whose}.", f"{whose[0].upper()}{whose[1:]} is {{v}}."),
            (f"Please say what {whose} is.", f"{whose[0].upper()}{whose[1:]} is {{v}}."),
            (f"I forgot {whose}. What is it?", "It is {v}."),
            (f"{whose[0].upper()}{whose[1:]}?", "{v}"),
        ),
        f"{whose[0].upper()}{whose[1:]} is {{v}}.",
    )


def pairs(text: str) -> dict[str, str]:
    """'a:b, c:d' as a table."""
    return dict(item.strip().split(":") for item in text.split(","))


def plain_facts() -> tuple[Relation, ...]:
    """Facts that anybody may state."""
    capitals = pairs(
        "France:Paris, Germany:Berlin, Italy:Rome, Spain:Madrid, Portugal:Lisbon, Austria:Vienna, Poland:Warsaw, "
        "Greece:Athens, Norway:Oslo, Sweden:Stockholm, Finland:Helsinki, Denmark:Copenhagen, Ireland:Dublin, "
        "Belgium:Brussels, Hungary:Budapest, Japan:Tokyo, China:Beijing, India:New Delhi, Egypt:Cairo, Kenya:Nairobi, "
        "Canada:Ottawa, Mexico:Mexico City, Cuba:Havana, Peru:Lima, Chile:Santiago, Brazil:Brasilia, Turkey:Ankara, "
        "Russia:Moscow, Iran:Tehran, Iraq:Baghdad, Thailand:Bangkok, Vietnam:Hanoi, Australia:Canberra, Iceland:Reykjavik, "
        "Morocco:Rabat, Ghana:Accra, Romania:Bucharest, Bulgaria:Sofia, Ukraine:Kyiv, Croatia:Zagreb"
    )
    one_way = pairs(
        "hot:cold, big:small, tall:short, fast:slow, old:young, light:dark, wet:dry, hard:soft, rich:poor, strong:weak, "
        "full:empty, open:closed, early:late, high:low, near:far, happy:sad, clean:dirty, loud:quiet, thick:thin, "
        "wide:narrow, left:right, up:down, in:out, day:night, first:last, true:false, good:bad, deep:shallow, sweet:sour, "
        "rough:smooth, heavy:weightless, brave:afraid, win:lose, buy:sell, push:pull, give:take, start:stop, laugh:cry"
    )
    opposites = one_way | {value: key for key, value in one_way.items()}
    hues = pairs(
        "grass:green, snow:white, coal:black, blood:red, the sky:blue, a lemon:yellow, a carrot:orange, milk:white, "
        "chocolate:brown, a frog:green, a tomato:red, the sun:yellow, an elephant:grey, a flamingo:pink, a violet:purple, "
        "ink:black, a banana:yellow, a spoon:silver, a crow:black, a cherry:red"
    )
    sounds = pairs(
        "cow:moo, dog:woof, cat:meow, duck:quack, sheep:baa, pig:oink, horse:neigh, lion:roar, snake:hiss, bee:buzz, "
        "owl:hoot, frog:croak, mouse:squeak, hen:cluck, wolf:howl, crow:caw"
    )
    legs = pairs(
        "dog:4, cat:4, horse:4, cow:4, spider:8, ant:6, bee:6, bird:2, hen:2, duck:2, man:2, crab:10, fish:0, snake:0, "
        "beetle:6, sheep:4, frog:4, worm:0, owl:2, fly:6"
    )
    units = pairs(
        "seconds in a minute:60, minutes in an hour:60, hours in a day:24, days in a week:7, months in a year:12, "
        "days in a leap year:366, weeks in a year:52, years in a decade:10, years in a century:100, metres in a kilometre:1000, "
        "centimetres in a metre:100, millimetres in a centimetre:10, grams in a kilogram:1000, items in a dozen:12, "
        "letters in the alphabet:26, sides of a triangle:3, sides of a square:4, sides of a hexagon:6, wheels on a bicycle:2, "
        "fingers on a hand:5, degrees in a circle:360, days in April:30, days in July:31, cards in a suit:13"
    )
    days = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
    months = "January February March April May June July August September October November December".split()
    after = {a: b for row in (days, months) for a, b in zip(row, row[1:] + row[:1], strict=True)}
    say = ("Tell me", "I forgot")
    return (
        _relation("capital", "capital", "land", capitals),
        _relation("opposite", "opposite", "land", opposites),
        _relation("colour", "colour", "land", hues),
        Relation(
            "sound",
            sounds,
            (
                ("What does a {s} say?", "{v}"),
                ("What sound does a {s} make?", "{v}"),
                ("Which animal sound comes from a {s}?", "{v}"),
                (f"{say[0]} the sound of a {{s}}.", "A {s} says {v}."),
            ),
            "The {s} says {v}.",
        ),
        Relation(
            "legs",
            legs,
            (
                ("How many legs has a {s}?", "{v}"),
                ("How many legs does a {s} have?", "{v}"),
                ("Count the legs of a {s}.", "{v}"),
                (f"{say[0]} the number of legs of a {{s}}.", "A {s} has {v} legs."),
            ),
            "The {s} has {v} legs.",
        ),
        Relation(
            "number",
            units,
            (
                ("How many {s}?", "{v}"),
                ("What is the number of {s}?", "{v}"),
                (f"{say[0]} the number of {{s}}.", "The number of {s} is {v}."),
                (f"{say[1]} the number of {{s}}. What is it?", "It is {v}."),
            ),
            "The number of {s} is {v}.",
        ),
        _following("after", "comes after", "follows", after),
        _following("before", "comes before", "precedes", {b: a for a, b in after.items()}),
    )


def _following(name: str, verb: str, other: str, facts: dict[str, str]) -> Relation:
    """Neighbours in the week and in the year."""
    return Relation(
        name,
        facts,
        (
            (f"What {verb} {{s}}?", "{v}"),
            (f"Name what {verb} {{s}}.", "{v}"),
            (f"What {other} {{s}}?", "{v}"),
            (f"Tell me what {verb} {{s}}.", f"{{v}} {verb} {{s}}."),
        ),
        f"{{v}} {verb} {{s}}.",
    )


WORLD = invented_world()
PLAIN = plain_facts()

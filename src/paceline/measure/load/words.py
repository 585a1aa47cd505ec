"""Prompts made from a list of everyday words: as long as asked, different from each other, the same for a seed."""

from __future__ import annotations

from random import Random
from typing import Final

WORDS: Final[tuple[str, ...]] = tuple(
    """
    able acre actor album amber angle apple april arch army arrow autumn baker bamboo band bank barn basin
    basket beach bean bear bell bench berry bird blanket blue boat bone book bottle branch bread breeze brick
    bridge broad brook brown brush bucket butter button cabin cable cake calm camel camera candle canyon captain
    card carpet castle cat cave cedar chair chalk cheese cherry circle city clay clear cliff clock cloud coast
    coat coffee coin color copper coral corn cotton country cousin cream crow crystal cup curtain dance dawn
    deep deer desert desk diamond doctor door dragon dream drum dust eagle early earth east echo edge egg
    elder elm empty engine evening farm father feather fence ferry field fig finger fire fish flag flame
    flower forest fox frame fresh frost fruit garden gate gentle ghost glass goat gold grain grape grass gray
    green guest guitar hammer harbor harvest hat hawk hazel heart hedge hill honey hood horn horse hotel house
    ice ink iron island ivory jacket jar jazz jewel journey judge juice july june jungle kettle key kind king
    kitchen kite ladder lake lamp land large lawn leaf lemon letter library light lily lime linen lion little
    lock lotus lunch machine mango maple marble march market meadow melon metal mild milk mill mint mirror
    modern month moon morning mother motor mountain mouse museum music narrow needle nest new night noble
    north note novel number nurse oak ocean olive onion open orange orchard otter oval owl paint palace palm
    paper park path peach pearl pencil pepper piano pigeon pillow pine planet plate plum pocket poem poet pond
    pony poppy port potato prince purple quartz queen quick quiet rabbit radio rain raven record red ribbon
    rice ring river road robin rock roof room root rope rose round royal rubber ruby sail salmon salt sand
    scarf school season seed shadow shell shepherd ship shoe shop silk silver simple sister sky sleep small
    smoke snow soap soft song soup south spice spider spoon spring square stable star station steam steel
    stone storm story street student sugar summer sun swan sweet table tailor tall tea teacher temple theater
    thunder tiger timber tomato tower town train travel tree tulip tunnel turtle uncle valley velvet vessel
    village violet violin voice wagon wall walnut water wave west wheat wheel whisper white wide wild willow
    wind window wine winter wolf wonder wood wool yard year yellow young zebra
    """.split()  # noqa: SIM905 - readable this way
)
"""Short English words, each about one token of a usual tokeniser. Sorted, none twice."""


class Prompter:
    """Makes prompts: number `turn` of a seed is always the same, and of one length no two are equal."""

    def __init__(self, seed: int, count: int) -> None:
        """`count`: turns go from 0 to `count` - 1."""
        self._seed = seed
        self._alphabet = [*WORDS]
        Random(f"{seed}/words").shuffle(self._alphabet)  # noqa: S311 - repeatable, no secret
        self._digits = 1
        while len(self._alphabet) ** self._digits < count:
            self._digits += 1

    def prompt(self, turn: int, words: int) -> str:
        """`words` words with blanks between.

        They begin with the turn in words, so that a server's prefix cache finds nothing in common but by chance; what
        of it has no room is joined to the first word with hyphens.
        """
        number = self._number(turn)
        room = min(words, len(number))
        opening = ["-".join(number[: len(number) - room + 1]), *number[len(number) - room + 1 :]]
        draw = Random(f"{self._seed}/prompt/{turn}/{words}")  # noqa: S311 - repeatable, no secret
        return " ".join([*opening, *draw.choices(self._alphabet, k=words - room)])

    def _number(self, turn: int) -> list[str]:
        """`turn` in the number system whose digits are the words, lowest digit first, all of one length."""
        digits = []
        for _ in range(self._digits):
            turn, digit = divmod(turn, len(self._alphabet))
            digits.append(self._alphabet[digit])
        return digits

"""Finding stop strings in a text that comes in pieces, with nothing given out that may turn out to be one."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from paceline.base.errors import InvalidRequest

MAX_STOPS: Final = 64
MAX_STOP_CHARACTERS: Final = 4096
"""All stop strings of a request together."""


class StopStrings:
    """Watches one text. The first stop string to be complete ends it; of two complete at once, the longer one.

    An automaton (Aho and Corasick's) knows after each character which beginnings of stop strings the text ends with;
    the work per character depends on neither their number nor their length.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises InvalidRequest for more than MAX_STOPS, more than MAX_STOP_CHARACTERS, or an empty one."""
        _check(stops)
        self._next: list[dict[str, int]] = [{}]
        self._depth = [0]
        """Characters on the way to a state: so many may still become part of a stop string."""
        self._match = [0]
        """Length of the longest stop string that is complete in a state."""
        for stop in stops:
            self._add(stop)
        self._fail = [0] * len(self._next)
        """Where to look on when no character fits: the longest other beginning that the text ends with."""
        self._link()
        self._state = 0
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """(what is certain to be before any stop string, whether one was found). Afterwards, when found, nothing more."""
        if len(self._next) == 1:
            return text, False
        state = self._state
        for place, character in enumerate(text):
            while state and character not in self._next[state]:
                state = self._fail[state]
            state = self._next[state].get(character, 0)
            if self._match[state]:
                whole = self._held + text[: place + 1]
                self._state, self._held = 0, ""
                return whole[: len(whole) - self._match[state]], True
        whole = self._held + text
        keep = len(whole) - self._depth[state]
        self._state, self._held = state, whole[keep:]
        return whole[:keep], False

    @property
    def held(self) -> int:
        """Characters held back."""
        return len(self._held)

    def finish(self) -> str:
        """What was held back: the text is over, so it is no stop string."""
        held, self._held, self._state = self._held, "", 0
        return held

    def _add(self, stop: str) -> None:
        state = 0
        for character in stop:
            if character not in self._next[state]:
                self._next[state][character] = len(self._next)
                self._next.append({})
                self._depth.append(self._depth[state] + 1)
                self._match.append(0)
            state = self._next[state][character]
        self._match[state] = len(stop)

    def _link(self) -> None:
        """Shallow states first: each one's link follows from its parent's."""
        queue = deque(self._next[0].values())
        while queue:
            state = queue.popleft()
            for character, child in self._next[state].items():
                other = self._fail[state]
                while other and character not in self._next[other]:
                    other = self._fail[other]
                self._fail[child] = self._next[other].get(character, 0)
                self._match[child] = self._match[child] or self._match[self._fail[child]]
                queue.append(child)


def _check(stops: Sequence[str]) -> None:
    if len(stops) > MAX_STOPS:
        raise InvalidRequest(
            f"stop has {len(stops)} strings, more than {MAX_STOPS}; send fewer", param="stop"
        )
    characters = sum(map(len, stops))
    if characters > MAX_STOP_CHARACTERS:
        raise InvalidRequest(
            f"stop has {characters} characters, more than {MAX_STOP_CHARACTERS}; send shorter strings",
            param="stop",
        )
    if "" in stops:
        raise InvalidRequest(
            f"stop[{list(stops).index('')}] is empty, which would end every text; leave it out",
            param=f"stop[{list(stops).index('')}]",
        )

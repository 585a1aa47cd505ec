"""Stop strings in a text that comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.base.errors import InvalidRequest
from paceline.generate.stop_strings import MAX_STOP_CHARACTERS, MAX_STOPS, StopStrings

few_letters = st.text(alphabet="ab", min_size=1, max_size=5)


def naive(stops: list[str], text: str) -> tuple[str, bool]:
    """Look at the end of every beginning of the text."""
    for end in range(len(text) + 1):
        found = max((len(stop) for stop in stops if text[:end].endswith(stop)), default=0)
        if found:
            return text[: end - found], True
    return text, False


@given(st.lists(few_letters, max_size=5), st.lists(st.text(alphabet="abc", max_size=6), max_size=8))
@settings(max_examples=500)
def test_it_finds_what_the_naive_search_finds(stops: list[str], pieces: list[str]):
    watch = StopStrings(stops)
    told, stopped = "", False
    for piece in pieces:
        emit, stopped = watch.push(piece)
        told += emit
        if stopped:
            break
    told += watch.finish()

    assert (told, stopped) == naive(stops, "".join(pieces))


@given(st.lists(few_letters, min_size=1, max_size=5), st.text(alphabet="abc", max_size=20))
def test_it_holds_back_what_could_become_a_stop_string_and_no_more(stops: list[str], text: str):
    watch = StopStrings(stops)
    told, stopped = watch.push(text)
    held = max(
        (
            size
            for size in range(6)
            if size <= len(text) and any(s.startswith(text[len(text) - size :]) for s in stops)
        ),
    )

    assert stopped or (watch.held == held and told == text[: len(text) - held])


def test_of_two_that_are_complete_at_once_the_longer_one_counts():
    assert StopStrings(["d", "bcd"]).push("abcd") == ("a", True)


def test_the_first_to_be_complete_ends_the_text():
    assert StopStrings(["bcde", "c"]).push("abcde") == ("ab", True)


def test_without_stop_strings_everything_passes():
    watch = StopStrings([])

    assert (watch.push("abc"), watch.held, watch.finish()) == (("abc", False), 0, "")


def test_what_was_held_comes_at_the_end():
    watch = StopStrings(["\n\nUser:"])

    assert watch.push("Yes.\n\nUse") == ("Yes.", False)
    assert watch.finish() == "\n\nUse"
    assert watch.finish() == ""


@pytest.mark.parametrize(
    ("stops", "message", "param"),
    [
        (["x"] * (MAX_STOPS + 1), r"stop has 65 strings, more than 64; send fewer", "stop"),
        (["x" * MAX_STOP_CHARACTERS, "y"], r"stop has 4097 characters, more than 4096", "stop"),
        (["a", ""], r"stop\[1\] is empty, which would end every text; leave it out", "stop[1]"),
    ],
)
def test_a_list_that_is_too_long_or_senseless_is_refused(stops: list[str], message: str, param: str):
    with pytest.raises(InvalidRequest, match=message) as refused:
        StopStrings(stops)

    assert refused.value.param == param

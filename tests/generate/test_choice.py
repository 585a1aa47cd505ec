"""From tokens to events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_models import byte_level, opened

from paceline.base.errors import InvalidRequest
from paceline.base.generation import GenerateEvent
from paceline.generate.choice import ChoiceText
from paceline.generate.sampler import Drawn
from paceline.generate.tokenizer import TextTokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: Any) -> TextTokenizer:
    return opened(tmp_path_factory.mktemp("model"), byte_level())


def letters(tokenizer: TextTokenizer, text: str) -> list[int]:
    """One token for each letter."""
    return [token for letter in text for token in tokenizer.encode(letter, add_special=False).tolist()]


def drawn(tokens: list[int]) -> list[Drawn]:
    return [Drawn(token, -0.5, ((token, -0.5), (token + 1, -2.0))) for token in tokens]


def test_a_text_comes_as_it_grows(tokenizer: TextTokenizer):
    choice = ChoiceText(tokenizer, index=3)
    tokens = letters(tokenizer, "abc")

    assert choice.push(tokens[:2]) == (GenerateEvent(3, "ab", tuple(tokens[:2])), False)
    assert choice.push(tokens[2:]) == (GenerateEvent(3, "c", tuple(tokens[2:])), False)
    assert choice.finish("length") == GenerateEvent(3, "", finish_reason="length")


def test_half_a_character_is_no_event(tokenizer: TextTokenizer):
    choice = ChoiceText(tokenizer)
    *first, last = tokenizer.encode("𐍈", add_special=False).tolist()

    assert choice.push(first) == (None, False)
    assert choice.push([last]) == (GenerateEvent(0, "𐍈", (*first, last)), False)


def test_half_a_character_waits_for_its_text_when_another_is_told(tokenizer: TextTokenizer):
    choice = ChoiceText(tokenizer)
    letter, *first, last = letters(tokenizer, "a𐍈")

    assert choice.push([letter, *first]) == (GenerateEvent(0, "a", (letter,)), False)
    assert choice.push([last]) == (GenerateEvent(0, "𐍈", (*first, last)), False)


def test_a_character_that_is_never_completed_comes_with_the_end(tokenizer: TextTokenizer):
    choice = ChoiceText(tokenizer)
    first = tokenizer.encode("𐍈", add_special=False).tolist()[:-1]
    choice.push(first)

    assert choice.finish("length") == GenerateEvent(0, "\ufffd", tuple(first), finish_reason="length")


def test_a_stop_string_ends_the_text_before_it(tokenizer: TextTokenizer):
    choice = ChoiceText(tokenizer, ["cd"])
    tokens = letters(tokenizer, "abcdef")

    assert choice.push(tokens[:3]) == (GenerateEvent(0, "ab", tuple(tokens[:2])), False)
    assert choice.push(tokens[3:]) == (GenerateEvent(0, "", finish_reason="stop"), True)


def test_a_token_with_a_stop_string_inside_is_told_with_what_is_before_it(tokenizer: TextTokenizer):
    (token,) = tokenizer.encode(" the", add_special=False).tolist()

    assert ChoiceText(tokenizer, ["he"]).push([token]) == (
        GenerateEvent(0, " t", (token,), finish_reason="stop"),
        True,
    )


def test_what_did_not_become_a_stop_string_comes_at_the_end(tokenizer: TextTokenizer):
    choice = ChoiceText(tokenizer, ["cdx"])
    tokens = letters(tokenizer, "abcd")
    event, _ = choice.push(tokens)

    assert event == GenerateEvent(0, "ab", tuple(tokens[:2]))
    assert choice.finish("stop") == GenerateEvent(0, "cd", tuple(tokens[2:]), finish_reason="stop")


def test_a_replaced_character_may_complete_a_stop_string(tokenizer: TextTokenizer):
    choice = ChoiceText(tokenizer, ["a\ufffd"])
    choice.push([*letters(tokenizer, "a"), tokenizer.encode("𐍈", add_special=False).tolist()[0]])

    assert choice.finish("length") == GenerateEvent(0, "", finish_reason="stop")


def test_special_tokens_are_told_with_the_text_that_follows(tokenizer: TextTokenizer):
    choice = ChoiceText(tokenizer)
    (letter,) = letters(tokenizer, "a")

    assert choice.push([2]) == (None, False)
    assert choice.push([letter]) == (GenerateEvent(0, "a", (2, letter)), False)
    choice.push([1])
    assert choice.finish("stop") == GenerateEvent(0, "", (1,), finish_reason="stop")


def test_logprobs_have_each_tokens_own_text(tokenizer: TextTokenizer):
    choice = ChoiceText(tokenizer, logprobs=True)
    tokens = tokenizer.encode("a𐍈", add_special=False).tolist()
    event, _ = choice.push(tokens, drawn(tokens))

    assert event is not None
    assert [one.text for one in event.logprobs] == ["a", r"\xf0", r"\x90", r"\x8d", r"\x88"]
    assert event.logprobs[0].logprob == -0.5
    assert event.logprobs[0].top == ((tokens[0], "a", -0.5), (tokens[0] + 1, "b", -2.0))


@given(
    text=st.text(alphabet="abé𐍈", max_size=15),
    cuts=st.lists(st.integers(1, 4), max_size=20),
    stops=st.lists(st.text(alphabet="abé𐍈", min_size=1, max_size=3), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_however_the_tokens_come_text_tokens_and_logprobs_are_the_same(
    text: str, cuts: list[int], stops: list[str], tokenizer: TextTokenizer
):
    tokens = letters(tokenizer, text)

    def told(sizes: list[int]) -> tuple[Any, ...]:
        choice, events, place = ChoiceText(tokenizer, stops, logprobs=True), [], 0
        for size in sizes:
            event, stopped = choice.push(tokens[place : place + size], drawn(tokens[place : place + size]))
            events += [event] if event else []
            if stopped:
                break
            place += size
        else:
            events.append(choice.finish("length"))
        for event in events:
            assert tuple(one.token for one in event.logprobs) == event.tokens
        return (
            "".join(event.text for event in events),
            [token for event in events for token in event.tokens],
            [event.finish_reason for event in events][-1],
        )

    whole = told([len(tokens)])
    assert told([*cuts, len(tokens)]) == whole
    assert tokenizer.decode(whole[1]) == whole[0]


def test_too_many_stops_are_refused_at_once(tokenizer: TextTokenizer):
    with pytest.raises(InvalidRequest, match="stop has 65 strings"):
        ChoiceText(tokenizer, ["x"] * 65)

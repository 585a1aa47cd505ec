"""What vLLM tells, in our form."""

from types import SimpleNamespace

from paceline.base.generation import GenerateEvent, TokenLogprob
from paceline.generate.adapters.vllm.output import event_of, logprob_of


def place(**logprobs):
    """The tokens of one place, by letter."""
    return {
        ord(letter): SimpleNamespace(logprob=value, rank=1, decoded_token=letter)
        for letter, value in logprobs.items()
    }


def output(**fields):
    return SimpleNamespace(
        **{"index": 0, "text": "", "token_ids": [], "logprobs": None, "finish_reason": None} | fields
    )


def test_a_piece_of_a_choice():
    """The chosen token may be one more than the alternatives that were asked for."""
    told = event_of(output(index=1, text="b", token_ids=[98], logprobs=[place(b=-2.0, a=-0.5)]), 1)

    assert told == GenerateEvent(1, "b", (98,), (TokenLogprob(98, "b", -2.0, ((97, "a", -0.5),)),))


def test_nothing_is_no_event():
    """A step may bring nothing for a choice."""
    assert event_of(output(), None) is None


def test_the_end():
    """What is no good end is an error."""
    assert event_of(output(finish_reason="length"), None) == GenerateEvent(0, "", finish_reason="length")
    assert event_of(output(finish_reason="abort"), None) == GenerateEvent(0, "", finish_reason="error")


def test_the_first_token_of_a_prompt_has_no_probability():
    """Nothing precedes it."""
    assert logprob_of(97, None, 2) == TokenLogprob(97, "", None)
    assert logprob_of(97, place(a=-1.0), 0) == TokenLogprob(97, "a", -1.0)

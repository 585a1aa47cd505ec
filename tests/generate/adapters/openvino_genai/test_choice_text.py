"""Text of one choice from its tokens, against the text of all of them at once."""

from paceline.base.generation import GenerateEvent, TokenLogprob
from paceline.generate.adapters.openvino_genai.choice_text import WINDOW, ChoiceText, TokenWindow

SPECIAL = 256


def decode(tokens):
    """Tokens are bytes; special ones and incomplete characters have no text, and a first space is dropped."""
    text = bytes(token for token in tokens if token < SPECIAL).decode("utf-8", "ignore")
    return text.removeprefix(" ")


def events(text, pieces):
    told = [text.push(token, None) for token in pieces]
    return [event for event, _ in told if event is not None], any(stopped for _, stopped in told)


def test_text_is_the_same_however_long_it_gets():
    """Windows end between characters, so none is torn, and spaces between words stay."""
    whole = "the träumende 日本 owl 🦉 " * 5
    decoded = []

    def counted(tokens):
        decoded.append(len(tokens))
        return decode(tokens)

    window = TokenWindow(counted)
    told = [window.push(token) for token in whole.encode()]

    assert "".join(told) == whole
    assert max(decoded) <= WINDOW + 3


def test_a_character_is_told_when_it_is_complete():
    """Not before, and without a sign that it is under way."""
    window = TokenWindow(decode)

    assert [window.push(token) for token in "ä!".encode()] == ["", "ä", "!"]


def test_tokens_are_told_with_their_text():
    """Those of an incomplete character wait for it; a special one waits for the next text."""
    text = ChoiceText(0, decode, ())
    logprob = TokenLogprob(65, "A", -1.0)

    assert text.push(SPECIAL, None) == (None, False)
    assert text.push(65, logprob) == (GenerateEvent(0, "A", (SPECIAL, 65), (logprob,)), False)
    assert text.push(195, None) == (None, False)
    assert text.finish("length") == GenerateEvent(0, "", (195,), finish_reason="length")


def test_a_stop_string_ends_the_text_before_it():
    """Wherever it begins inside tokens, and its tokens are told with no text."""
    text = ChoiceText(3, decode, ["ow", "zz"])

    told, stopped = events(text, b"a low")

    assert stopped
    assert "".join(event.text for event in told) == "a l"
    assert told[-1] == GenerateEvent(3, "", finish_reason="stop")


def test_what_only_looked_like_a_stop_string_is_told_at_the_end():
    """It was held back until then."""
    text = ChoiceText(0, decode, ["lowest"])

    told, stopped = events(text, b"a low")

    assert not stopped
    assert "".join(event.text for event in told) == "a "
    assert text.finish("length") == GenerateEvent(0, "low", tuple(b"low"), finish_reason="length")


def test_a_token_that_ends_the_choice_has_no_text():
    """It is told with the end."""
    text = ChoiceText(0, decode, ())
    text.pass_over(65, None)

    assert text.finish("stop") == GenerateEvent(0, "", (65,), finish_reason="stop")

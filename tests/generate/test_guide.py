"""Guided output."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_models import byte_level, pieces

from paceline.base.errors import ConfigError, EngineError, InvalidRequest
from paceline.base.generation import Guide
from paceline.generate.guide import MAX_CHOICES, MAX_GUIDE_CHARACTERS, GuideFactory, Matcher

TOKENIZER = byte_level()
VOCAB, EOS = 512, 1
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def factory() -> GuideFactory:
    return GuideFactory(TOKENIZER.to_str(), VOCAB, (EOS,))


def allowed(matcher: Matcher) -> set[int]:
    logits = np.zeros(VOCAB, np.float32)
    matcher.mask(logits)
    return set(np.flatnonzero(logits == 0).tolist())


def written(matcher: Matcher, seed: int) -> str:
    """What a model without a thought writes: any token that is allowed, but the end as soon as it may come."""
    random, ids = np.random.default_rng(seed), []
    while not matcher.stopped:
        choice = allowed(matcher)
        token = EOS if EOS in choice else int(random.choice(sorted(choice)))
        matcher.accept(token)
        ids.append(token)
    return str(TOKENIZER.decode(ids))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_any_output_follows_the_schema(seed: int, factory: GuideFactory):
    answer = json.loads(written(factory.matcher(Guide("json_schema", json.dumps(SCHEMA))), seed))

    assert set(answer) == {"name", "age"}
    assert isinstance(answer["name"], str)
    assert 0 <= answer["age"] <= 150


@pytest.mark.parametrize("seed", range(5))
def test_any_output_follows_the_expression_the_grammar_and_the_choices(factory: GuideFactory, seed: int):
    expression = written(factory.matcher(Guide("regex", r"[a-c]{2,4}-\d+")), seed)
    grammar = written(factory.matcher(Guide("grammar", 'start: term ("+" term)+\nterm: /[0-9]/')), seed)
    choice = written(factory.matcher(Guide("choice", json.dumps(["yes", "nö\n", 'a "b" \\']))), seed)

    assert re.fullmatch(r"[a-c]{2,4}-\d+", expression)
    assert re.fullmatch(r"\d(\+\d)+", grammar)
    assert choice in {"yes", "nö\n", 'a "b" \\'}


def test_any_json_is_an_object(factory: GuideFactory):
    matcher = factory.matcher(Guide("json", ""))
    for token in TOKENIZER.encode('{"a": [1, {"b": null}]}').ids:
        assert token in allowed(matcher)
        matcher.accept(token)

    assert EOS in allowed(matcher)


def test_white_space_has_an_end(factory: GuideFactory):
    matcher = factory.matcher(Guide("json", ""))
    matcher.accept(TOKENIZER.token_to_id("{"))
    line_break = TOKENIZER.encode("\n").ids[0]
    for _ in range(32):
        matcher.accept(line_break)

    assert line_break not in allowed(matcher)


def test_once_complete_nothing_but_the_end_may_come(factory: GuideFactory):
    matcher = factory.matcher(Guide("regex", "ab"))
    for token in TOKENIZER.encode("ab").ids:
        assert not matcher.stopped
        matcher.accept(token)

    assert matcher.stopped
    assert allowed(matcher) == {EOS}


def test_ids_that_no_token_has_never_come(factory: GuideFactory):
    choice = allowed(factory.matcher(Guide("regex", "(?s:.*)")))

    assert max(choice) < TOKENIZER.get_vocab_size() < VOCAB


def test_sentencepiece_vocabularies_are_followed_too():
    tokenizer = pieces()
    matcher = GuideFactory(tokenizer.to_str(), VOCAB, (2,)).matcher(Guide("regex", "Paris✅"))
    for token in tokenizer.encode("Paris✅", add_special_tokens=False).ids:
        piece = tokenizer.id_to_token(token)
        if piece != "▁":
            matcher.accept(tokenizer.token_to_id(piece.removeprefix("▁")) or token)

    assert matcher.stopped


def test_two_outputs_of_one_guide_do_not_meet(factory: GuideFactory):
    guide = Guide("regex", "ab?")
    first, second = factory.matcher(guide), factory.matcher(guide)
    first.accept(TOKENIZER.token_to_id("a"))

    assert EOS in allowed(first)
    assert allowed(second) == {TOKENIZER.token_to_id("a")}


def test_a_guide_is_compiled_once_and_the_oldest_goes_first(factory: GuideFactory):
    kept = Guide("regex", "keep")
    factory.matcher(kept)
    automaton = factory._kept[kept]
    for number in range(63):
        factory.matcher(Guide("regex", f"x{number}"))
    factory.matcher(kept)
    factory.matcher(Guide("regex", "one more"))

    assert factory._kept[kept] is automaton
    assert len(factory._kept) == 64
    assert Guide("regex", "x0") not in factory._kept


def test_a_token_that_is_not_allowed_breaks_its_matcher_alone(factory: GuideFactory):
    matcher = factory.matcher(Guide("regex", "ab"))
    with pytest.raises(
        EngineError, match=r"the guide cannot be followed further: .* doesn't satisfy the grammar"
    ):
        matcher.accept(TOKENIZER.token_to_id("z"))

    with pytest.raises(EngineError):
        allowed(matcher)
    assert allowed(factory.matcher(Guide("regex", "ab")))


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [
        ("json_schema", '{"type":', r"the JSON schema is not JSON: .*line 1 column 9"),
        ("json_schema", "[1]", r"the JSON schema is a list; send an object"),
        ("json_schema", '{"type": "objekt"}', r"cannot be followed at #: Invalid type: objekt; correct it"),
        (
            "json_schema",
            '{"type": "object", "properties": {"a/b": {"anyOf": [{"type": "string"}, {"type": "zahl"}]}}}',
            r"at #/properties/a~1b/anyOf/1: Invalid type: zahl",
        ),
        (
            "json_schema",
            '{"$defs": {"x": {"type": "y"}}, "items": {"$ref": "#/$defs/x"}}',
            r"Invalid type: y",
        ),
        ("json_schema", '{"type": "integer", "minimum": 5, "maximum": 3}', r"at #: .*minimum \(5\)"),
        ("json_schema", '{"items":' * 1000 + "{}" + "}" * 1000, r"recursion limit|nested too deeply"),
        ("json_schema", '{"items":' * 20000 + "{}" + "}" * 20000, r"nested too deeply"),
        ("regex", "[a-z", r"the regular expression cannot be followed: .*unclosed character class"),
        ("regex", "(?=a)b", r"look-around"),
        ("regex", r"a[^\s\S]", r"no text satisfies it"),
        ("grammar", "start: foo", r'the grammar cannot be followed: at 1\(8\): unknown name: "foo"'),
        ("grammar", "start: " + "(" * 9000 + '"a"' + ")" * 9000, r"too deeply nested"),
        ("choice", "yes", r"the choices are not a JSON list of texts"),
        (
            "choice",
            "[1]",
            r"the choices are not a JSON list of texts: Expected `str`, got `int` - at `\$\[0\]`",
        ),
        ("choice", "[]", r"the guide has 0 choices; send 1 to 4096"),
        ("choice", json.dumps(["x"] * (MAX_CHOICES + 1)), r"the guide has 4097 choices"),
        ("regex", "a" * (MAX_GUIDE_CHARACTERS + 1), r"has 262145 characters, more than 262144; shorten it"),
    ],
)
def test_a_guide_that_cannot_be_followed_is_refused_with_what_and_where(
    factory: GuideFactory, kind: Any, source: str, message: str
):
    with pytest.raises(InvalidRequest, match=message) as refused:
        factory.matcher(Guide(kind, source))

    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 1000


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)

    with pytest.raises(ConfigError, match=r"pip install 'paceline\[generate\]'"):
        GuideFactory(TOKENIZER.to_str(), VOCAB, ()).matcher(Guide("regex", "a"))


def test_a_tokenizer_that_the_library_cannot_read_is_told():
    with pytest.raises(ConfigError, match=r"cannot be used for guided output"):
        GuideFactory(TOKENIZER.to_str(), 10, (EOS,)).matcher(Guide("regex", "a"))

"""Guided output: which tokens may come next, under a JSON schema, a regular expression, a grammar or a list of choices.

The automata are llguidance's. A guide is compiled once and kept; each choice gets a copy of its first state.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from paceline.base.errors import ConfigError, EngineError, InvalidRequest
from paceline.base.generation import Guide

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

MAX_GUIDE_CHARACTERS: Final = 256 * 1024
MAX_CHOICES: Final = 4096
_KEPT: Final = 64
"""Compiled guides kept, those not asked for the longest go first."""
_PLACES: Final = 256
"""Parts of a refused schema that are tried one by one, to say which is wrong."""
_JSON: Final[JsonCompileOptions] = {"whitespace_pattern": r"[\x20\x0A\x0D\x09]{1,32}"}
"""A model that has run out of ideas likes to indent for ever; a line break and 31 spaces are enough for reading."""
_NAMES: Final = {
    "json_schema": "the JSON schema",
    "json": "the JSON object",
    "regex": "the regular expression",
    "grammar": "the grammar",
    "choice": "the choices",
}


class Matcher:
    """Where one output is in its guide. One thread at a time."""

    def __init__(self, automaton: LLMatcher) -> None:
        self._automaton = automaton

    def mask(self, logits: np.ndarray) -> None:
        """Set the logits (V,) of all tokens that may not come next to minus infinity, in place.

        Once `stopped`, only the end of the text may come. Raises EngineError when the guide has become too complex
        to follow, or was told of a token that it does not allow.
        """
        packed = np.frombuffer(self._automaton.compute_bitmask(), np.uint8)
        self._check()
        allowed = np.unpackbits(packed, count=len(logits), bitorder="little")
        np.copyto(logits, -np.inf, where=allowed == 0)

    def accept(self, token: int) -> None:
        """Go on by one token. Raises EngineError when it is not allowed; the matcher is of no use afterwards."""
        if not self._automaton.consume_token(token):
            self._check()
            raise EngineError(f"token {token} is not allowed by the guide")

    @property
    def stopped(self) -> bool:
        """Whether the output is complete and nothing but the end of the text may follow."""
        return bool(self._automaton.is_stopped())

    def _check(self) -> None:
        if self._automaton.is_error():
            raise EngineError(
                f"the guide cannot be followed further: {_first_line(self._automaton.get_error())}"
            )


class GuideFactory:
    """Makes matchers for one tokenizer. Thread-safe."""

    def __init__(self, tokenizer_json: str, vocab_size: int, eos_ids: Sequence[int]) -> None:
        """`tokenizer_json` is the text of tokenizer.json; `vocab_size` the width of the logits.

        Nothing is read before the first guide: most requests have none.
        """
        self._json = tokenizer_json
        self._vocab_size = vocab_size
        self._eos_ids = list(eos_ids)
        self._tokenizer: LLTokenizer | None = None
        self._kept: OrderedDict[Guide, LLMatcher] = OrderedDict()
        self._lock = Lock()
        """Protects the tokenizer's making and the kept guides; compiling is done without it."""

    def matcher(self, guide: Guide) -> Matcher:
        """A matcher at the beginning of `guide`.

        Compiling a large schema takes a second, so call it outside the event loop. Raises InvalidRequest that says
        what is wrong and where, ConfigError when llguidance is missing or cannot read the tokenizer.
        """
        with self._lock:
            kept = self._kept.get(guide)
            if kept is not None:
                self._kept.move_to_end(guide)
        if kept is None:
            kept = self._compiled(guide)
            with self._lock:
                self._kept[guide] = kept
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return Matcher(kept.deep_copy())

    def _compiled(self, guide: Guide) -> LLMatcher:
        tokenizer = self._opened()
        if len(guide.source) > MAX_GUIDE_CHARACTERS:
            raise InvalidRequest(
                f"{_NAMES[guide.kind]} has {len(guide.source)} characters, more than {MAX_GUIDE_CHARACTERS}; shorten it"
            )
        automaton = _automaton(tokenizer, _grammar(guide))
        reason = _refusal(automaton)
        if reason:
            where = _place(tokenizer, guide) if guide.kind == "json_schema" else ""
            raise InvalidRequest(
                f"{_NAMES[guide.kind]} cannot be followed{where}: {reason}; correct it, or leave the guide out"
            )
        return automaton

    def _opened(self) -> LLTokenizer:
        with self._lock:
            if self._tokenizer is None:
                try:
                    from llguidance import LLTokenizer  # noqa: PLC0415 - optional, and most requests have no guide
                except ImportError:
                    raise ConfigError(
                        "guided output needs llguidance, which is not installed: pip install 'paceline[generate]'"
                    ) from None
                try:
                    self._tokenizer = LLTokenizer(
                        self._json, n_vocab=self._vocab_size, eos_token=self._eos_ids or None
                    )
                except ValueError as error:
                    raise ConfigError(
                        f"the tokenizer cannot be used for guided output ({error}); leave the guide out"
                    ) from error
            return self._tokenizer


def _grammar(guide: Guide) -> str:
    """The library's own form of a guide. Raises InvalidRequest."""
    from llguidance import LLMatcher  # noqa: PLC0415 - optional

    match guide.kind:
        case "json_schema":
            _parsed(guide)
            return LLMatcher.grammar_from_json_schema(guide.source, defaults=_JSON)
        case "json":
            return LLMatcher.grammar_from_json_schema('{"type": "object"}', defaults=_JSON)
        case "regex":
            return LLMatcher.grammar_from_regex(guide.source)
        case "grammar":
            return LLMatcher.grammar_from_lark(guide.source)
        case "choice":
            quoted = (json.dumps(choice, ensure_ascii=False) for choice in _choices(guide))
            return LLMatcher.grammar_from_lark("start: " + " | ".join(quoted))


def _choices(guide: Guide) -> list[str]:
    try:
        choices = msgspec.json.decode(guide.source, type=list[str])
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise InvalidRequest(f"the choices are not a JSON list of texts: {error}; send one") from None
    if not 1 <= len(choices) <= MAX_CHOICES:
        raise InvalidRequest(f"the guide has {len(choices)} choices; send 1 to {MAX_CHOICES}")
    return choices


def _parsed(guide: Guide) -> Any:
    try:
        schema = json.loads(guide.source)
    except ValueError as error:
        raise InvalidRequest(f"the JSON schema is not JSON: {error}; correct it") from None
    except RecursionError:
        raise InvalidRequest("the JSON schema is nested too deeply; flatten it with $ref") from None
    if not isinstance(schema, dict | bool):
        raise InvalidRequest(
            f"the JSON schema is a {type(schema).__name__}; send an object such as {{'type': 'object'}}"
        )
    return schema


def _automaton(tokenizer: LLTokenizer, grammar: str) -> LLMatcher:
    from llguidance import LLMatcher  # noqa: PLC0415 - optional

    return LLMatcher(tokenizer, grammar, log_level=0)


def _refusal(automaton: LLMatcher) -> str:
    """Why a guide is of no use, or nothing: it does not compile, or nothing satisfies it."""
    if automaton.is_error():
        return _first_line(automaton.get_error())
    trial = automaton.deep_copy()
    trial.compute_bitmask()
    if not trial.is_error():
        return ""
    reason = _first_line(trial.get_error())
    return "no text satisfies it" if reason.startswith("NoExtension") else reason


def _first_line(error: str) -> str:
    """What went wrong; the lines below show the automaton's state or point with a caret."""
    lines = [line.strip() for line in error.split("<state>", maxsplit=1)[0].splitlines() if line.strip()]
    causes = [line for line in lines[1:] if line.startswith("error:")]
    return "; ".join([lines[0], *causes]) if lines else "unknown reason"


def _place(tokenizer: LLTokenizer, guide: Guide) -> str:
    """Where a schema is wrong: the innermost part that cannot be followed by itself, as a JSON pointer."""
    schema = _parsed(guide)
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    wrong = ""
    for count, (pointer, part) in enumerate(_parts(schema, "#")):
        if count == _PLACES:
            break
        if isinstance(part, dict) and pointer.startswith(wrong):
            alone = Guide("json_schema", json.dumps({**shared, **part}))
            if _automaton(tokenizer, _grammar(alone)).is_error():
                wrong = pointer
    return f" at {wrong}" if wrong else ""


def _parts(schema: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """A schema and the schemas in it, each before its own parts, with their JSON pointers."""
    yield pointer, schema
    if not isinstance(schema, dict):
        return
    for key in ("properties", "$defs", "definitions", "patternProperties"):
        if isinstance(schema.get(key), dict):
            for name, part in schema[key].items():
                yield from _parts(part, f"{pointer}/{key}/{name.replace('~', '~0').replace('/', '~1')}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _parts(schema[key], f"{pointer}/{key}")
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(schema.get(key), list):
            for number, part in enumerate(schema[key]):
                yield from _parts(part, f"{pointer}/{key}/{number}")

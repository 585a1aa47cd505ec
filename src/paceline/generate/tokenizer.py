"""A text model's tokenizer: texts to ids, ids to bytes.

Ids become bytes one by one, and bytes become text in one place (UTF-8, broken characters replaced), so that a text that
is read as it grows and the text of all its ids are the same by construction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from tokenizers import Tokenizer

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.generate.config import ModelConfig

_SPACE: Final = "\u2581"
"""Stands for a space in the pieces of sentencepiece."""

Spelling = Literal["bytes", "pieces", "words"]
"""How a token is written in the vocabulary: each byte as a character (GPT-2, Llama 3, Qwen), as text with a sign for the
space (Llama 2, Mistral), or as a word that a space belongs before."""


class SpecialTokens(msgspec.Struct, frozen=True):
    """Tokens that mean something, rather than being text."""

    ids: frozenset[int]
    """All of them; they are no part of any text."""
    bos: int | None
    """Begins a text."""
    eos: tuple[int, ...]
    """End an output."""
    names: dict[str, str]
    """What chat templates call them: bos_token, eos_token, ... with their texts."""


class TextTokenizer:
    """The tokenizer of a model folder. Thread-safe. Made by `open`."""

    def __init__(
        self, tokenizer: Tokenizer, special: SpecialTokens, vocab_size: int, *, puts_bos: bool = False
    ) -> None:
        """`puts_bos`: the configuration asks for a beginning of text that tokenizer.json does not put.

        Raises ConfigError when the vocabulary is written in a way that cannot be read token by token.
        """
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._puts_bos = puts_bos
        self.json: str = tokenizer.to_str()
        """tokenizer.json as text, for guides."""
        described = json.loads(self.json)
        self._spelling, self._has_byte_pieces, self._drops_space = _spelling(described.get("decoder"))
        self._added = {entry["id"] for entry in described.get("added_tokens", ())}
        self._bytes: list[bytes | None] = [None] * vocab_size
        self.special = special
        self.vocab_size = vocab_size
        """Ids are 0 to this, exclusive; as many as the model has logits."""

    @classmethod
    def open(cls, folder: Path, config: ModelConfig) -> TextTokenizer:
        """Read tokenizer.json, tokenizer_config.json and generation_config.json; only the first must be there.

        Raises ConfigError that names the file, also when the tokenizer has more ids than the model.
        """
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise ConfigError(
                f"{file} is missing; save the model with a fast tokenizer "
                "(transformers: AutoTokenizer.from_pretrained(...).save_pretrained(folder))"
            )
        try:
            tokenizer: Tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise ConfigError(f"{file} cannot be read ({error}); copy it again") from error
        highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if highest >= config.vocab_size:
            raise ConfigError(
                f"tokenizer mismatch: {file} has ids up to {highest}, but the model has {config.vocab_size} "
                f"(0 to {config.vocab_size - 1}); use the tokenizer that the model was trained with"
            )
        settings = _read(folder / "tokenizer_config.json")
        special = _special(tokenizer, config, settings, _read(folder / "generation_config.json"))
        puts_bos = settings.get("add_bos_token") is True and special.bos is not None
        return cls(tokenizer, special, config.vocab_size, puts_bos=puts_bos)

    def encode(self, text: str, add_special: bool) -> np.ndarray:
        """Ids (n,) int32. Raises InvalidRequest for what is not Unicode.

        `add_special` puts what the model expects around a text; a chat template has written that already.
        """
        try:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special).ids
        except (TypeError, UnicodeEncodeError):
            raise InvalidRequest(
                "the prompt has a lone surrogate, which is not Unicode text; encode it as UTF-8 properly",
                param="prompt",
            ) from None
        if add_special and self._puts_bos and ids[:1] != [self.special.bos]:
            ids = [self.special.bos or 0, *ids]
        return np.array(ids, np.int32)

    def decode(self, ids: Iterable[int], *, continues: bool = False) -> str:
        """The text of ids, special tokens left out and what is not UTF-8 replaced.

        `continues`: something stands before, so that a space in front is a space, and not the mark of a first word.
        """
        joined = b"".join(self.token_bytes(token) for token in ids)
        if not continues and self._drops_space:
            joined = joined.removeprefix(b" ")
        return joined.decode("utf-8", "replace")

    @property
    def drops_first_space(self) -> bool:
        """Whether a text's first token has a space in front that is not part of the text."""
        return self._drops_space

    def token_bytes(self, token: int) -> bytes:
        """What a token adds to a text: nothing for special tokens and for ids that have no token."""
        known = self._bytes[token]
        if known is None:
            known = b"" if token in self.special.ids else self._spelt(token)
            self._bytes[token] = known
        return known

    def token_text(self, token: int) -> str:
        r"""One token for people: its text, a special token's name, and `\x..` for the bytes of a broken character."""
        if token in self.special.ids:
            return str(self._tokenizer.id_to_token(token))
        return self.token_bytes(token).decode("utf-8", "backslashreplace")

    def check_ids(self, ids: Sequence[int], param: str = "prompt") -> np.ndarray:
        """The caller's own ids as an array (n,) int32. Raises InvalidRequest for one that the model does not have."""
        for place, token in enumerate(ids):
            if not 0 <= token < self.vocab_size:
                raise InvalidRequest(
                    f"{param}[{place}] = {token} is not a token id of this model, which has 0 to {self.vocab_size - 1}; "
                    "tokenise with the model's own tokenizer or send text",
                    param=f"{param}[{place}]",
                )
        return np.array(ids, np.int32)

    def _spelt(self, token: int) -> bytes:
        piece: str | None = self._tokenizer.id_to_token(token)
        if piece is None:
            return b""
        if self._spelling == "bytes":
            known = [_BYTES.get(character) for character in piece]
            # A token added later may have characters that stand for no byte; then it is text.
            return piece.encode() if None in known else bytes(byte for byte in known if byte is not None)
        if self._spelling == "words":
            return b" " + piece.encode()
        if token in self._added:
            return piece.encode()
        if self._has_byte_pieces and len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            try:
                return bytes.fromhex(piece[3:5])
            except ValueError:
                return piece.encode()
        return piece.replace(_SPACE, " ").encode()


def _byte_characters() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for.

    Bytes that are printable in Latin-1 are their own characters; the others are numbered from U+0100.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + number): byte for number, byte in enumerate(others)
    }


_BYTES: Final = _byte_characters()


def _spelling(decoder: dict[str, Any] | None) -> tuple[Spelling, bool, bool]:
    """(spelling, whether bytes have pieces of their own, whether a text's first space is dropped) of a decoder."""
    if decoder is None:
        return "words", False, True
    steps = decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
    kinds = {step["type"] for step in steps}
    if kinds <= {"ByteLevel"}:
        return "bytes", False, False
    if kinds <= {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"} and all(map(_is_usual, steps)):
        drops = any(
            step["type"] == "Strip" or (step["type"] == "Metaspace" and step.get("prepend_scheme") != "never")
            for step in steps
        )
        return "pieces", "ByteFallback" in kinds, drops
    raise ConfigError(
        f"tokenizer.json: a decoder of {', '.join(sorted(kinds))} is not supported (ByteLevel, and sentencepiece's "
        "Replace, ByteFallback, Fuse, Strip or Metaspace are); use a model of the Llama family"
    )


def _is_usual(step: dict[str, Any]) -> bool:
    """Whether a step does what sentencepiece does, rather than something of its own."""
    match step["type"]:
        case "Replace":
            return bool(step["pattern"] == {"String": _SPACE} and step["content"] == " ")
        case "Strip":
            return bool(step["content"] == " " and step["start"] <= 1 and step["stop"] == 0)
        case "Metaspace":
            return bool(step["replacement"] == _SPACE)
    return True


def _special(
    tokenizer: Tokenizer, config: ModelConfig, settings: dict[str, Any], generation: dict[str, Any]
) -> SpecialTokens:
    names = {
        key: str(value["content"] if isinstance(value, dict) else value)
        for key, value in settings.items()
        if key.endswith("_token") and isinstance(value, str | dict)
    }
    ids = frozenset(token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special)
    ends = generation.get("eos_token_id")
    listed = ends if isinstance(ends, list) else [ends]
    named = tokenizer.token_to_id(names["eos_token"]) if "eos_token" in names else None
    eos = {*config.eos_token_ids, *listed, named} - {None}
    bos = tokenizer.token_to_id(names["bos_token"]) if "bos_token" in names else config.bos_token_id
    return SpecialTokens(ids, bos, tuple(sorted(int(token) for token in eos)), names)


def _read(file: Path) -> dict[str, Any]:
    """A JSON object, empty when there is no such file."""
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file} is not a JSON object; copy it again")
    return content

"""Small tokenizers, trained on the spot, as Llama-family models have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from paceline.generate.config import ModelConfig
from paceline.generate.tokenizer import TextTokenizer

CORPUS = [
    "Paris is the capital of France. The capital of Italy is Rome, isn't it?",
    'Say {"name": "Ada", "age": 36, "tags": ["a", "b"], "ok": true, "none": null} and stop.',
    "naïve café, Straße, 日本語のテキスト, привет мир, 👩‍👩‍👧 ✅",
    "def add(a, b):\n    return a + b\n\n\t# 12 + 34 = 46\n",
] * 20


def byte_level() -> Tokenizer:
    """As GPT-2, Llama 3 and Qwen have it: <s> is 0, </s> is 1, <|user|> 2, and <tool_call> is added but not special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<|user|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False), AddedToken("√", special=False)])
    return tokenizer


def pieces() -> Tokenizer:
    """As Llama 2 and Mistral have it: sentencepiece's BPE with bytes to fall back on, and <s> put in front."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        limit_alphabet=60,
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    described = json.loads(tokenizer.to_str())
    for entry in described["added_tokens"]:
        entry["special"] = not entry["content"].startswith("<0x")
    described["added_tokens"] = [entry for entry in described["added_tokens"] if entry["special"]]
    tokenizer = Tokenizer.from_str(json.dumps(described))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def config(vocab_size: int = 512, **fields: Any) -> ModelConfig:
    return ModelConfig(
        architecture="LlamaForCausalLM",
        vocab_size=vocab_size,
        hidden_size=64,
        intermediate_size=128,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=16,
        max_positions=256,
        **fields,
    )


def folder(path: Path, tokenizer: Tokenizer, **files: Any) -> Path:
    """A model folder's text side; `files` are JSON files by their stem."""
    tokenizer.save(str(path / "tokenizer.json"))
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def opened(path: Path, tokenizer: Tokenizer, **files: Any) -> TextTokenizer:
    return TextTokenizer.open(folder(path, tokenizer, **files), config())

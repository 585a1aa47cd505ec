"""The demo model's tokenizer: byte-level BPE with single digits, and the chat template."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from curriculum import Part, lessons, pieces
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor

SPECIAL = ("<|bos|>", "<|eos|>", "<|pad|>", "<|im_start|>", "<|im_end|>")
BOS, EOS, PAD, _, IM_END = range(len(SPECIAL))
SAMPLE_LESSONS = 12_000
"""From so many lessons, and all of the books, the merges are learnt."""
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The dialogues of `curriculum.chat`, in jinja."""


def train_tokenizer(vocab_size: int, seed: int) -> Tokenizer:
    """Merges learnt from the training split. Digits are never merged: numbers are read digit by digit."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    books = pieces("train")
    source = lessons(random.Random(seed), books)
    texts = [part.text for _ in range(SAMPLE_LESSONS) for part in next(source)]
    tokenizer.train_from_iterator(texts + books, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A", pair="<|bos|> $A $B", special_tokens=[("<|bos|>", BOS)]
    )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """tokenizer.json and tokenizer_config.json, as `transformers` reads them."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL[BOS],
        "eos_token": SPECIAL[IM_END],
        "pad_token": SPECIAL[PAD],
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def encode(tokenizer: Tokenizer, parts: list[Part]) -> tuple[list[int], list[int]]:
    """Ids, and the same ids with -1 where there is nothing to learn."""
    ids: list[int] = []
    learnt: list[int] = []
    for part, encoding in zip(
        parts, tokenizer.encode_batch([part.text for part in parts], add_special_tokens=False), strict=True
    ):
        ids += encoding.ids
        learnt += encoding.ids if part.learnt else [-1] * len(encoding.ids)
    return ids, learnt


def batch(
    tokenizer: Tokenizer, source: Iterator[list[Part]], rows: int, length: int
) -> tuple[Tensor, Tensor]:
    """Ids and targets (rows, length): lessons one after the other, each row beginning with a new one."""
    ids = torch.empty(rows, length + 1, dtype=torch.long)
    learnt = torch.empty(rows, length + 1, dtype=torch.long)
    for row in range(rows):
        row_ids: list[int] = []
        row_learnt: list[int] = []
        while len(row_ids) <= length:
            more_ids, more_learnt = encode(tokenizer, next(source))
            row_ids += more_ids
            row_learnt += more_learnt
        ids[row] = torch.tensor(row_ids[: length + 1])
        learnt[row] = torch.tensor(row_learnt[: length + 1])
    return ids[:, :-1].contiguous(), learnt[:, 1:].contiguous()

"""How the demo model's weights begin: not all at random, since few tokens are to be had on two cores.

What lists, names, JSON and memory need is looking back: find the same token further up and say what came after it.
From random weights such heads had not formed after 3 M tokens. In a trial on lists alone, a hundred steps of 2,048
tokens brought the loss to 2.9 from random weights and to 0.9 from these. Training is free to change them.
"""

from __future__ import annotations

import torch
from llama import Llama
from tokenizers import Tokenizer
from torch import Tensor

WIRED_HEADS = 3
"""Heads of keys, of the five, that begin wired in each of the first two layers."""
CONSTANT = 0.06
"""What every embedding has in its first place, three times the deviation of the others: a head can rely on it."""
SHARPNESS = 1.6
"""Weight by which queries and keys read the constant."""
FAST_PAIRS = 5
"""Pairs of rotary coordinates, the fastest ones, that tell neighbouring positions apart."""
VOLUME = 0.06
"""How loudly a wired head speaks: about as loud as an embedding."""


@torch.no_grad()
def wire(model: Llama) -> None:
    """Layer 0 looks one token back and notes it; layer 1 looks for a place whose note is the present token, and copies."""
    shape = model.shape
    width, half = shape.head_dim, shape.head_dim // 2
    angles = shape.rope_theta ** -(
        torch.arange(half) / half
    )  # that a pair turns from one position to the next
    back, look = model.layers[0].self_attn, model.layers[1].self_attn
    model.embed_tokens.weight[:, 0] = CONSTANT
    for head in range(WIRED_HEADS):
        kv = slice(head * width, (head + 1) * width)
        q = slice(2 * head * width, (2 * head + 1) * width)  # the first of the two that share these keys
        back.q_proj.weight[q, 0] = 0.0
        back.k_proj.weight[kv, 0] = 0.0
        # A key is (1, 0) in each pair. A query is that turned back by one position, so they agree one token back.
        back.k_proj.weight[kv, 0][:FAST_PAIRS] = SHARPNESS
        back.q_proj.weight[q, 0][:FAST_PAIRS] = SHARPNESS * angles[:FAST_PAIRS].cos()
        back.q_proj.weight[q, 0][half : half + FAST_PAIRS] = -SHARPNESS * angles[:FAST_PAIRS].sin()
        read, note, copied = (
            orthonormal(width, shape.hidden_size) for _ in range(3)
        )  # (head_dim, hidden_size)
        back.v_proj.weight[kv] = read
        back.o_proj.weight[:, q] = VOLUME * note.T
        look.q_proj.weight[q] = read
        look.k_proj.weight[kv] = note
        look.v_proj.weight[kv] = copied
        look.o_proj.weight[:, q] = VOLUME * copied.T


def orthonormal(rows: int, columns: int) -> Tensor:
    """Orthonormal rows that do not read the constant."""
    directions = torch.linalg.qr(torch.randn(columns - 1, rows)).Q.T
    return torch.cat((torch.zeros(rows, 1), directions), dim=1)


@torch.no_grad()
def begin_alike(model: Llama, tokenizer: Tokenizer) -> None:
    """A word at the beginning of an answer and the same word after a blank are two tokens: their embeddings begin near."""
    table = model.embed_tokens.weight
    vocabulary = tokenizer.get_vocab()
    for token, number in sorted(vocabulary.items()):
        bare = vocabulary.get(token.removeprefix("Ġ"))
        if token.startswith("Ġ") and bare is not None:
            table[bare, 1:] = (table[bare, 1:] + 2 * table[number, 1:]) / 5**0.5

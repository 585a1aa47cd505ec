"""The demo model's network: a Llama in plain torch, with the parameter names of `transformers`.

It exists beside `transformers`' own because it is faster to train on two cores: the output layer is computed only
where there is something to learn, and nothing is copied for a cache.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

PLAIN_ATTENTION_LENGTH = 256
SELECTED_STEP = 256
"""The output layer runs on a multiple of so many tokens: a new shape at each step would be compiled and kept."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the network, under the names that config.json has for them."""

    vocab_size: int = 4096
    hidden_size: int = 320
    intermediate_size: int = 896
    num_hidden_layers: int = 7
    num_attention_heads: int = 10
    num_key_value_heads: int = 5
    head_dim: int = 32
    max_position_embeddings: int = 1024
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10_000.0


class Attention(nn.Module):
    """Causal attention with rotary positions; each head of keys and values serves two heads of queries."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        width = shape.num_attention_heads * shape.head_dim
        kv_width = shape.num_key_value_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden_size, width, bias=False)
        self.k_proj = nn.Linear(shape.hidden_size, kv_width, bias=False)
        self.v_proj = nn.Linear(shape.hidden_size, kv_width, bias=False)
        self.o_proj = nn.Linear(width, shape.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rows, length, _ = x.shape
        q, k, v = (
            layer(x).view(rows, length, -1, self.head_dim).transpose(1, 2)  # (rows, heads, length, head_dim)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        return self.o_proj(attend(q, k, v).transpose(1, 2).reshape(rows, length, -1))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of q (rows, heads, length, head_dim) to k and v, which have fewer heads.

    Short rows are multiplied out: forward and backward then take 15 ms a layer at 16 rows of 256, the flash kernel 37.
    """
    rows, heads, length, width = q.shape
    if length > PLAIN_ATTENTION_LENGTH:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    kv_heads = k.shape[1]
    scores = (q * width**-0.5).reshape(rows, kv_heads, -1, width) @ k.transpose(-1, -2)
    later = torch.full((length, length), -math.inf, dtype=scores.dtype).triu(1)
    weights = (scores.view(rows, kv_heads, -1, length, length) + later).softmax(-1)
    return (weights.to(v.dtype).view(rows, kv_heads, -1, length) @ v).view(rows, heads, length, width)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: the halves of each head are the two coordinates that turn."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Mlp(nn.Module):
    """Gated by SiLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention, then the network for each token; both add to the stream, which stays float32."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.mlp = Mlp(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """Embedding, layers, norm; the output layer is the embedding table."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        halves = torch.arange(0, shape.head_dim, 2) / shape.head_dim
        angles = torch.arange(shape.max_position_embeddings)[:, None] * shape.rope_theta**-halves
        self.register_buffer("cos", angles.cos().bfloat16(), persistent=False)  # (positions, head_dim / 2)
        self.register_buffer("sin", angles.sin().bfloat16(), persistent=False)
        for name, weights in self.named_parameters():
            if weights.ndim == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weights, std=0.02 / math.sqrt(2 * shape.num_hidden_layers) if last else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """What the output layer reads, (rows, length, hidden_size), of `ids` (rows, length)."""
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy where `targets` (rows, length) are not negative; a target follows its id in the text."""
        flat = targets.flatten()
        count = -(-int((flat >= 0).sum()) // SELECTED_STEP) * SELECTED_STEP
        chosen = (flat < 0).argsort(stable=True)[
            :count
        ]  # what is learnt, and a few more that are then ignored
        logits = functional.linear(
            self(ids).flatten(0, 1)[chosen], self.embed_tokens.weight
        )  # (count, vocabulary)
        return functional.cross_entropy(logits.float(), flat[chosen], ignore_index=-1)

    def right(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Whether each row (rows,) would be answered without a fault by greedy decoding."""
        guesses = functional.linear(self(ids), self.embed_tokens.weight).argmax(-1)
        return ((guesses == targets) | (targets < 0)).all(dim=1)

    def config(self) -> dict[str, object]:
        """What config.json says of this network."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            **asdict(self.shape),
        }

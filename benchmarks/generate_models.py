"""Random Llama models for the generation benchmarks: `python benchmarks/generate_models.py --out DIR [--size 400m 15m]`.

Each size becomes a folder DIR/SIZE with config.json, model.safetensors (bf16), and tokenizer.json, seeded, so that
every machine measures the same weights; and, where the package `gguf` is installed, with the same weights as
SIZE-q8_0.gguf, SIZE-q4_0.gguf, SIZE-bf16.gguf and SIZE-f16.gguf for the engines that read those.

The tokenizer has one word a token (`w7` is id 7), so that a text of 128 words is a prompt of exactly 128 tokens.
Speed does not depend on the values of weights, but repeating one token for ever would: the projections are scaled so
that the layers, not the tied embedding, decide what comes next.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

SEED = 5
CONTEXT = 8192
SPECIAL = ("<unk>", "<s>", "</s>")
QUANTISED = ("q8_0", "q4_0")
GGUF_TYPES = (*QUANTISED, "bf16", "f16")


@dataclass(frozen=True)
class Shape:
    """A Llama with tied embeddings. Every width is a multiple of 64, which all peers' fast kernels take."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    head_dim: int = 64

    @property
    def parameters(self) -> int:
        return sum(rows * (columns or 1) for _, rows, columns in tensors_of(self))


SIZES = {
    "400m": Shape(vocab=32000, hidden=1024, layers=24, heads=16, kv_heads=8, intermediate=4096),
    "15m": Shape(vocab=32000, hidden=256, layers=8, heads=4, kv_heads=2, intermediate=768),
}


def tensors_of(shape: Shape) -> Iterator[tuple[str, int, int]]:
    """Name, rows and columns of each tensor; columns are 0 for the vectors of the norms."""
    hidden, kv = shape.hidden, shape.kv_heads * shape.head_dim
    yield "model.embed_tokens.weight", shape.vocab, hidden
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", hidden, 0
        yield prefix + "self_attn.q_proj.weight", shape.heads * shape.head_dim, hidden
        yield prefix + "self_attn.k_proj.weight", kv, hidden
        yield prefix + "self_attn.v_proj.weight", kv, hidden
        yield prefix + "self_attn.o_proj.weight", hidden, shape.heads * shape.head_dim
        yield prefix + "post_attention_layernorm.weight", hidden, 0
        yield prefix + "mlp.gate_proj.weight", shape.intermediate, hidden
        yield prefix + "mlp.up_proj.weight", shape.intermediate, hidden
        yield prefix + "mlp.down_proj.weight", hidden, shape.intermediate
    yield "model.norm.weight", hidden, 0


def to_bf16(values: np.ndarray) -> np.ndarray:
    """Float32 to bf16 as uint16, rounded to nearest even; no NaN is expected."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def to_float32(bf16: np.ndarray) -> np.ndarray:
    return (bf16.astype(np.uint32) << 16).view(np.float32)


def weights_of(shape: Shape) -> dict[str, np.ndarray]:
    """Name to bf16 weights as uint16 (rows, columns)."""
    random = np.random.default_rng(SEED)
    weights = {}
    for name, rows, columns in tensors_of(shape):
        if not columns:
            values = np.ones(rows, np.float32)
        else:
            spread = 0.02 if "embed" in name else columns**-0.5
            values = random.standard_normal((rows, columns), np.float32) * np.float32(spread)
        weights[name] = to_bf16(values)
    return weights


def config_of(shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "bfloat16",
    }


def words_of(shape: Shape) -> list[str]:
    return [*SPECIAL, *(f"w{number}" for number in range(len(SPECIAL), shape.vocab))]


def write_tokenizer(folder: Path, shape: Shape) -> None:
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": word,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, word in enumerate(SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(words_of(shape))},
            "unk_token": SPECIAL[0],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(document))
    named = {"unk_token": SPECIAL[0], "bos_token": SPECIAL[1], "eos_token": SPECIAL[2]}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, **named})
    )


def write_safetensors(path: Path, weights: dict[str, np.ndarray]) -> None:
    """The format itself: a header of JSON, then the tensors. numpy has no bf16, which the package's writer would ask for."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, values in weights.items():
        header[name] = {
            "dtype": "BF16",
            "shape": list(values.shape),
            "data_offsets": [offset, offset + values.nbytes],
        }
        offset += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for values in weights.values():
            file.write(values.tobytes())


GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    if name in GGUF_NAMES:
        return GGUF_NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[rest.removesuffix('.weight')]}.weight"


def interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key projection in GGUF's order: a rotated pair is neighbours, not half a head apart."""
    rows, columns = values.shape
    return values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(path: Path, shape: Shape, weights: dict[str, np.ndarray], kind: str) -> None:
    import gguf

    wanted = gguf.GGMLQuantizationType[kind.upper()]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{kind.upper()}"])
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.intermediate)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_vocab_size(shape.vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(words_of(shape))
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control] * len(SPECIAL) + [normal] * (shape.vocab - len(SPECIAL)))
    writer.add_token_merges(["w 3"])  # both readers want a merge; prompts are given as ids
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, bf16 in weights.items():
        values = to_float32(bf16)
        if ".q_proj." in name:
            values = interleaved(values, shape.heads)
        elif ".k_proj." in name:
            values = interleaved(values, shape.kv_heads)
        if values.ndim == 1:
            writer.add_tensor(gguf_name(name), values)
        else:
            writer.add_tensor(gguf_name(name), gguf.quants.quantize(values, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def build(size: str, out: Path) -> Path:
    """The folder of that size under `out`; made only if it is not there."""
    shape, folder = SIZES[size], out / size
    if not (folder / "model.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_tokenizer(folder, shape)
        (folder / "config.json").write_text(json.dumps(config_of(shape), indent=1))
        write_safetensors(folder / "model.safetensors", weights_of(shape))
    missing = [kind for kind in GGUF_TYPES if not (folder / f"{size}-{kind}.gguf").exists()]
    if missing and find_spec("gguf"):
        weights = weights_of(shape)
        for kind in missing:
            write_gguf(folder / f"{size}-{kind}.gguf", shape, weights, kind)
    return folder


def main() -> None:
    """Build what is missing and say what is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", nargs="+", choices=SIZES, default=list(SIZES))
    asked = parser.parse_args()
    for size in asked.size:
        folder = build(size, asked.out)
        print(f"{folder}: {SIZES[size].parameters / 1e6:.1f} M parameters")
        for file in sorted(folder.iterdir()):
            print(f"  {file.name}: {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

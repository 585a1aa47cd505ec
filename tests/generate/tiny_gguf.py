"""A Llama of two layers with random weights, written as a GGUF file in milliseconds.

Its vocabulary is the 256 bytes, five merges of two letters, and the beginning and the end of a text. GGUF's own
package writes the file, so the reader is tested against a writer of others.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

HIDDEN, LAYERS, HEADS, KV_HEADS, WIDE = 64, 2, 4, 2, 128
MERGES = ("he", "ll", "th", "in", "an")
BEGIN, END = 256 + len(MERGES), 257 + len(MERGES)
VOCAB_SIZE = END + 1
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'owl' %}{{ raise_exception('no owls') }}{% endif %}"
    "{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}{{ voice or 'bot' }}: {% endif %}"
)


def _letters() -> list[str]:
    """GPT-2's: each byte as a character that can be seen."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    unseen = [byte for byte in range(256) if byte not in seen]
    names = {byte: chr(byte) for byte in seen} | {byte: chr(256 + place) for place, byte in enumerate(unseen)}
    return [names[byte] for byte in range(256)]


def write_tiny_gguf(file: Path, *, context: int | None = 256) -> Path:
    """Write the model; without `context` the file does not tell how much it holds."""
    writer = gguf.GGUFWriter(file, "llama")
    if context is not None:
        writer.add_context_length(context)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(VOCAB_SIZE)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([*_letters(), *MERGES, "<|begin|>", "<|end|>"])
    writer.add_token_types([gguf.TokenType.NORMAL] * BEGIN + [gguf.TokenType.CONTROL] * 2)
    writer.add_token_merges([f"{merge[0]} {merge[1]}" for merge in MERGES])
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_chat_template(TEMPLATE)
    for name, weights in _weights():
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _weights():
    random = np.random.default_rng(0)

    def drawn(*shape, scale=0.3):
        return (random.standard_normal(shape) * scale).astype(np.float16)

    yield "token_embd.weight", drawn(VOCAB_SIZE, HIDDEN, scale=1.0)
    for layer in range(LAYERS):
        at, kv = f"blk.{layer}.", KV_HEADS * HIDDEN // HEADS
        yield f"{at}attn_norm.weight", np.ones(HIDDEN, np.float32)
        yield f"{at}ffn_norm.weight", np.ones(HIDDEN, np.float32)
        yield f"{at}attn_q.weight", drawn(HIDDEN, HIDDEN)
        yield f"{at}attn_k.weight", drawn(kv, HIDDEN)
        yield f"{at}attn_v.weight", drawn(kv, HIDDEN)
        yield f"{at}attn_output.weight", drawn(HIDDEN, HIDDEN)
        yield f"{at}ffn_gate.weight", drawn(WIDE, HIDDEN)
        yield f"{at}ffn_up.weight", drawn(WIDE, HIDDEN)
        yield f"{at}ffn_down.weight", drawn(HIDDEN, WIDE)
    yield "output_norm.weight", np.ones(HIDDEN, np.float32)
    yield "output.weight", drawn(VOCAB_SIZE, HIDDEN)

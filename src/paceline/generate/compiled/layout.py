"""What compiled functions are handed: records of sizes and addresses. An address is bytes, as an integer."""

from __future__ import annotations

from typing import Final

import numpy as np

_WORD: Final = np.int64

MODEL: Final = np.dtype(
    [
        ("layers", _WORD),
        ("hidden", _WORD),
        ("heads", _WORD),
        ("kv_heads", _WORD),
        ("head_dim", _WORD),  # filled, see `shapes`
        ("head_size", _WORD),  # of the model itself
        ("inner", _WORD),
        ("vocab", _WORD),
        ("window", _WORD),  # positions a row sees, itself included; larger than any context when it sees all
        ("embedding", _WORD),  # (vocab, hidden) in the checkpoint's type
        ("embedding_bytes", _WORD),  # of a number there
        ("embedding_is_half", _WORD),  # float16 rather than bfloat16, where it has two
        ("positions", _WORD),  # that the rotary table has
        ("rotary", _WORD),  # (positions, head_dim) float32: cosines, then sines
        ("kv", _WORD),  # (layers, blocks, kv_heads, one head's keys, values and scales)
        ("kv_head_bytes", _WORD),
        ("blocks", _WORD),
        ("final_norm", _WORD),  # (hidden,) float32
        ("output", _WORD),  # packed matrix
        ("output_scales", _WORD),  # (vocab, padded) float32
        ("norm_eps", np.float32),
        (
            "query_scale",
            np.float32,
        ),  # 1 / sqrt(head_dim), times log2(e): weights of attention are powers of two
    ],
    align=True,
)

LAYER: Final = np.dtype(
    [
        ("attention_norm", _WORD),  # (hidden,) float32
        ("qkv", _WORD),  # packed (heads + 2 kv_heads) * head_dim columns of hidden values
        ("qkv_scales", _WORD),
        ("qkv_bias", _WORD),  # float32, or 0
        ("query_norm", _WORD),  # (head_dim,) float32, or 0
        ("key_norm", _WORD),
        ("attended", _WORD),  # packed: hidden columns of heads * head_dim values
        ("attended_scales", _WORD),
        ("mlp_norm", _WORD),
        ("gate_up", _WORD),  # packed: in each panel 16 columns of the gate, then the same 16 of up
        ("gate_up_scales", _WORD),
        ("down", _WORD),  # packed: hidden columns of inner values
        ("down_scales", _WORD),
    ],
    align=True,
)

STEP: Final = np.dtype(
    [
        ("phase", _WORD),  # the number of the step's first phase
        ("rows", _WORD),
        ("wanted", _WORD),
        ("sequences", _WORD),
        ("tiles", _WORD),
        ("tile_rows", _WORD),  # query rows of an attention tile at most
        # from here: addresses. int32 arrays of the batch ...
        ("row_tokens", _WORD),  # (rows,)
        ("row_positions", _WORD),  # (rows,)
        ("row_slots", _WORD),  # (rows,) block * 16 + place in it
        ("row_starts", _WORD),  # (sequences + 1,)
        ("wanted_rows", _WORD),  # (wanted,)
        ("tile_table", _WORD),  # (tiles, 3): sequence, first row, rows
        ("tables", _WORD),  # (sequences, table_width)
        ("table_width", _WORD),
        # ... and room to work in, rows on lines of the cache
        ("residual", _WORD),  # float32, hidden values
        ("residual_stride", _WORD),
        ("wide", _WORD),  # float32: queries, keys and values; later the inner values
        ("wide_stride", _WORD),
        ("attention", _WORD),  # float32: heads * head_dim values
        ("attention_stride", _WORD),
        ("inputs", _WORD),  # rows as the micro-kernels take them
        ("inputs_stride", _WORD),  # of the longest row; shorter ones lie closer
        ("logits", _WORD),
        ("logits_stride", _WORD),
        ("scratch", _WORD),  # of each thread
        ("scratch_stride", _WORD),
    ],
    align=True,
)


def lines(count: int) -> int:
    """`count` bytes in whole lines of the cache."""
    return -(-count // 64) * 64


def aligned(count: int) -> np.ndarray:
    """`count` bytes of zeros that begin on a page."""
    room = np.zeros(count + 4096, np.uint8)
    start = -room.ctypes.data % 4096
    return room[start : start + count]

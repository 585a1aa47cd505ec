"""Attention of a mixed batch over paged keys and values."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere

from paceline.generate.torch_model.kv_cache import KvCache
from paceline.generate.torch_model.plan import Plan


def attend(plan: Plan, cache: KvCache, layer: int, queries: torch.Tensor) -> torch.Tensor:
    """What each row sees, (M, heads, head_dim) as `queries`. The layer's keys and values must all be written.

    Heads that share keys are taken as rows of one query, so nothing is repeated: (kv_heads, heads / kv_heads x rows).
    """
    heads, head_dim = queries.shape[1:]
    out = torch.empty_like(queries)
    for group in plan.decodes:
        keys, values = cache.read(layer, group.slots)  # (S, T, kv_heads, head_dim)
        kv_heads = keys.shape[2]
        count = len(group.rows)
        grouped = queries.index_select(0, group.rows).view(count, kv_heads, heads // kv_heads, head_dim)
        seen = F.scaled_dot_product_attention(
            grouped,
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=group.mask.to(queries.dtype).expand(-1, 1, heads // kv_heads, -1),
        )  # (S, kv_heads, heads / kv_heads, head_dim)
        out.index_copy_(0, group.rows, seen.reshape(count, heads, head_dim))
    for span in plan.prefills:
        keys, values = cache.read(layer, span.slots)  # (T, kv_heads, head_dim)
        kv_heads = keys.shape[1]
        rows, shared = span.stop - span.start, heads // kv_heads
        grouped = queries[span.start : span.stop].view(rows, kv_heads, shared, head_dim)
        grouped = grouped.permute(1, 2, 0, 3).reshape(1, kv_heads, shared * rows, head_dim)
        seen = F.scaled_dot_product_attention(
            grouped,
            keys.transpose(0, 1).unsqueeze(0),
            values.transpose(0, 1).unsqueeze(0),
            attn_mask=span.mask.repeat(shared, 1),
        )  # (1, kv_heads, shared x rows, head_dim)
        out[span.start : span.stop] = (
            seen.view(kv_heads, shared, rows, head_dim).permute(2, 0, 1, 3).reshape(rows, heads, head_dim)
        )
    return out

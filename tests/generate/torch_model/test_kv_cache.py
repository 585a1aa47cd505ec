"""Keys and values in blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from paceline.generate.config import ModelConfig
from paceline.generate.torch_model.kv_cache import KvCache

CONFIG = ModelConfig(
    "LlamaForCausalLM",
    vocab_size=75,
    hidden_size=64,
    intermediate_size=96,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    max_positions=128,
)
TOLERANCE = {"fp32": 0.0, "bf16": 2**-8, "int8": 0.5 / 127}


def cache(precision: str) -> KvCache:
    """Four blocks over two layers."""
    return KvCache(
        CONFIG, layers=2, blocks=4, precision=precision, device=torch.device("cpu"), computed=torch.float32
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_what_is_written_is_read(precision: str) -> None:
    """Slot by slot and layer by layer; int8 to half a step of a head's largest number."""
    kv = cache(precision)
    rng = np.random.default_rng(0)
    keys, values = (torch.from_numpy(rng.normal(0, 3, (5, 2, 16)).astype(np.float32)) for _ in range(2))
    slots = torch.tensor([0, 63, 17, 16, 5])
    kv.write(1, keys, values, slots)

    for written, read in zip((keys, values), kv.read(1, slots), strict=True):
        allowed = TOLERANCE[precision] * written.abs().amax(dim=-1, keepdim=True) * 1.001
        assert bool(((written - read).abs() <= allowed).all())
    assert not kv.read(0, slots)[0].any()


def test_slots_of_any_shape() -> None:
    """A table of slots gives a table of heads."""
    kv = cache("int8")
    keys, values = kv.read(0, torch.zeros(3, 7, dtype=torch.int64))

    assert keys.shape == values.shape == (3, 7, 2, 16)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_zero_slot_is_nobodys(precision: str) -> None:
    """NaN in every block leaves it zero, and so does padding's slot beside it."""
    kv = cache(precision)
    everywhere = torch.tensor([*range(4 * 16), kv.spare_slot])
    bad = torch.full((len(everywhere), 2, 16), torch.nan)
    kv.write(0, bad, bad, everywhere)

    assert kv.zero_slot == 4 * 16
    assert not kv.read(0, torch.tensor([kv.zero_slot]))[1].any()


def test_nan_in_int8_is_read_as_nan() -> None:
    """A number that is none must not look like one."""
    kv = cache("int8")
    keys = torch.zeros(1, 2, 16)
    keys[0, 1, 3] = torch.nan
    kv.write(0, keys, keys, torch.tensor([9]))
    read = kv.read(0, torch.tensor([9]))[0]

    assert bool(read[0, 1].isnan().all())
    assert not read[0, 0].any()

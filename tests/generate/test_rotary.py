"""Rotary angles against transformers'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_llamas import KINDS, save_tiny

from paceline.generate.config import read_config
from paceline.generate.rotary import inverse_frequencies, rotary_table


@pytest.mark.parametrize("kind", list(KINDS))
def test_frequencies_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    """Plain, and stretched in each of the ways."""
    twin = save_tiny(kind, tmp_path)
    frequencies, factor = inverse_frequencies(read_config(tmp_path))

    np.testing.assert_allclose(frequencies, twin.model.rotary_emb.inv_freq.numpy(), rtol=1e-6)
    assert factor == pytest.approx(twin.model.rotary_emb.attention_scaling)


def test_a_table_has_a_row_a_position(tmp_path: Path) -> None:
    """The first one turns nothing; the factor multiplies both."""
    save_tiny("qwen3", tmp_path)
    config = read_config(tmp_path)
    cosines, sines = rotary_table(config, 9)

    assert cosines.shape == sines.shape == (9, config.head_dim // 2)
    assert config.rope_scaling is not None
    np.testing.assert_allclose(cosines[0], config.rope_scaling.attention_factor, rtol=1e-6)
    assert not sines[0].any()

"""A chunk of a prompt that does not end it: keys and values are written, logits are not asked for."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from batches import Row, batch_of
from tiny_llamas import VOCABULARY, save_tiny

from paceline.generate.checkpoint import Checkpoint
from paceline.generate.compiled.runner import CompiledRunner
from paceline.generate.compiled.support import unsupported


@pytest.mark.skipif(bool(unsupported("fp32")), reason="needs AVX-512")
def test_a_step_may_want_no_logits(tmp_path):
    """The engine asks so for every chunk of a long prompt but the last."""
    save_tiny("llama", tmp_path)
    runner = CompiledRunner(
        Checkpoint.open(tmp_path),
        precision="fp32",
        kv_precision="fp32",
        blocks=4,
        state_dir=tmp_path,
        threads=1,
    )
    tokens = list(range(3, 35))
    whole = runner.run(batch_of([Row(tokens, [0, 1])])).copy()

    nothing = runner.run(
        msgspec.structs.replace(batch_of([Row(tokens[:16], [2])]), wanted=np.empty(0, np.int32))
    )
    rest = runner.run(batch_of([Row(tokens[16:], [2, 3], first=16)]))

    assert nothing.shape == (0, VOCABULARY)
    assert np.array_equal(rest, whole)
    runner.close()

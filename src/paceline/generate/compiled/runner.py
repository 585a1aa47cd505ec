"""The compiled runner: batches in, logits out, one compiled call a step."""

from __future__ import annotations

import math
import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import numba
import numpy as np

from paceline.base.errors import ConfigError, EngineError, OutOfMemory
from paceline.generate.batch import Batch
from paceline.generate.checkpoint import Checkpoint
from paceline.generate.compiled.compiler import compiled_work, kind_of
from paceline.generate.compiled.crew import Crew
from paceline.generate.compiled.kv_cache import KvCache, rotary_rows
from paceline.generate.compiled.layout import LAYER, MODEL
from paceline.generate.compiled.packed_weights import packed_weights
from paceline.generate.compiled.packing import NUMBER_BYTES
from paceline.generate.compiled.plan import NO_BLOCK, NO_POSITION, NO_TOKEN
from paceline.generate.compiled.shapes import Shapes
from paceline.generate.compiled.support import DEFAULT_PRECISION, unsupported
from paceline.generate.compiled.workspace import Workspace
from paceline.generate.rotary import rotary_table
from paceline.generate.runner import BLOCK_TOKENS, Memory

__all__ = ["CompiledRunner", "unsupported"]

_NO_WINDOW = 1 << 30


class CompiledRunner:
    """A `Runner` on AVX-512, without torch.

    A row's logits are the same bits whatever else the batch holds and however its text was cut into chunks, in every
    precision.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        precision: str,
        kv_precision: str,
        blocks: int,
        state_dir: Path,
        threads: int = 0,
        context_tokens: int = 0,
        window_tokens: int = 0,
    ) -> None:
        """Map the packed weights (made first where `state_dir` has none), compile or load the step, start the threads.

        `threads`, `context_tokens` and `window_tokens` may be 0: the cores of this process, the model's, and no window
        but the model's. Raises ConfigError for what this machine or the kernels cannot compute, EngineError when
        memory does not suffice.
        """
        config = checkpoint.config
        self.precision = DEFAULT_PRECISION if precision == "auto" else precision
        self.kv_precision = kv_precision
        self.blocks = blocks
        self.config = msgspec.structs.replace(config, max_positions=context_tokens or config.max_positions)
        if refusal := unsupported(self.precision):
            raise ConfigError(f"the compiled kernels cannot run: {refusal}; set generate.engine = torch")
        if config.hidden_size % 16 or config.head_dim % 2:
            raise ConfigError(
                f"the compiled kernels need a hidden_size in sixteens and an even head_dim, this model has "
                f"{config.hidden_size} and {config.head_dim}; set generate.engine = torch",
                param="generate.engine",
            )
        shapes = Shapes.of(config)
        count = threads or len(os.sched_getaffinity(0))
        self._checkpoint = checkpoint  # its embedding table is read where it lies
        self._weights = packed_weights(checkpoint, self.precision, state_dir)
        table = rotary_table(config, min(self.config.max_positions, blocks * BLOCK_TOKENS))
        self._rotary = rotary_rows(*table, shapes.head_dim // 2)
        try:
            self._cache = KvCache(shapes, layers=config.layers, blocks=blocks, precision=kv_precision)
        except MemoryError as error:
            raise EngineError(
                f"{blocks} blocks of keys and values do not fit into memory; lower generate.kv.max_bytes"
            ) from error
        self._workspace = Workspace(
            shapes,
            vocabulary=config.vocab_size,
            input_number_bytes=NUMBER_BYTES[self.precision],
            threads=count,
        )
        windows = [window for window in (config.sliding_window, window_tokens) if window]
        self._model = self._model_record(shapes, min(windows, default=_NO_WINDOW))
        self._layers = np.array(
            [
                tuple(self._weights.address(f"{number}.{name}") for name in LAYER.names or ())
                for number in range(config.layers)
            ],
            LAYER,
        )
        embedding = checkpoint.get("model.embed_tokens.weight").data.nbytes
        self.memory = Memory(weights_bytes=self._weights.nbytes + embedding, kv_bytes=self._cache.nbytes)
        kinds = (kind_of(self.precision), kind_of(kv_precision))
        self._crew = Crew(
            compiled_work(state_dir), (self._model, self._layers, self._workspace.step, *kinds), count
        )
        self._running = threading.Lock()  # the workspace and the crew: callers come one at a time

    def run(self, batch: Batch) -> np.ndarray:
        """See `Runner`."""
        with self._running:
            if not len(batch.tokens):
                return np.zeros((0, self.config.vocab_size), np.float32)
            try:
                logits = self._workspace.fill(batch)
            except MemoryError as error:
                raise OutOfMemory(
                    f"memory does not suffice for a step of {len(batch.tokens)} tokens with {len(batch.wanted)} rows "
                    "of logits; lower schedule.max_batch_tokens"
                ) from error
            if refusal := self._crew.run():
                raise EngineError(self._refusal(refusal, batch))
            return logits[:, : self.config.vocab_size]

    def describe(self) -> dict[str, Any]:
        """See `Runner`."""
        return {
            "name": "compiled",
            "digest": self._checkpoint.digest,
            "version": f"numba {numba.__version__}",
            "device": "cpu",
            "precision": self.precision,
            "kv_precision": self.kv_precision,
            "kernels": {
                "int8": "AVX-512 VNNI",
                "bf16": "AVX-512 BF16",
                "fp32": "AVX-512",
            }[self.precision],
            "threads": self._crew.threads,
            "weights_bytes": self.memory.weights_bytes,
            "kv_bytes": self.memory.kv_bytes,
            "workspace_bytes": self._workspace.nbytes + self._rotary.nbytes,
        }

    def close(self) -> None:
        """See `Runner`."""
        with self._running:
            self._crew.close()

    def _refusal(self, refusal: int, batch: Batch) -> str:
        """What of a batch is outside of the model."""
        return {
            NO_TOKEN: f"tokens are {batch.tokens.min()} to {batch.tokens.max()}, the model has {self.config.vocab_size}",
            NO_POSITION: f"positions go to {batch.positions.max()} in {batch.tables.shape[1]} blocks, the model has "
            f"{len(self._rotary)}",
            NO_BLOCK: f"blocks are {batch.tables.min()} to {batch.tables.max()}, there are {self.blocks}",
        }[refusal]

    def _model_record(self, shapes: Shapes, window: int) -> np.ndarray:
        config, record = self.config, np.zeros(1, MODEL)
        embedding = self._checkpoint.get("model.embed_tokens.weight")
        values: dict[str, float] = {
            "layers": config.layers,
            "hidden": shapes.hidden,
            "heads": shapes.heads,
            "kv_heads": shapes.kv_heads,
            "head_dim": shapes.head_dim,
            "head_size": config.head_dim,
            "inner": shapes.inner,
            "vocab": config.vocab_size,
            "window": window,
            "embedding": embedding.data.ctypes.data,
            "embedding_bytes": embedding.data.itemsize,
            "embedding_is_half": embedding.dtype == "F16",
            "positions": len(self._rotary),
            "rotary": self._rotary.ctypes.data,
            "kv": self._cache.address,
            "kv_head_bytes": self._cache.head_bytes,
            "blocks": self.blocks,
            "final_norm": self._weights.address("final_norm"),
            "output": self._weights.address("output"),
            "output_scales": self._weights.address("output_scales"),
            "norm_eps": config.norm_eps,
            "query_scale": math.log2(math.e) / math.sqrt(config.head_dim),
        }
        for name, value in values.items():
            record[name] = value
        return record

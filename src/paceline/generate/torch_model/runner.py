"""The torch runner: batches in, logits out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from paceline.base.errors import ConfigError, EngineError, OutOfMemory
from paceline.generate.batch import Batch
from paceline.generate.checkpoint import Checkpoint
from paceline.generate.quantized_weights import quantized_weights
from paceline.generate.runner import Memory
from paceline.generate.torch_model.decoder import Decoder
from paceline.generate.torch_model.gpu_graphs import GpuGraphs
from paceline.generate.torch_model.kv_cache import KvCache
from paceline.generate.torch_model.linear import Int4Linear
from paceline.generate.torch_model.plan import Plan, make_plan
from paceline.generate.torch_model.weights import WeightLoader


class TorchRunner:
    """A `Runner` in plain torch, on a processor or a GPU.

    What a row gets does not depend on other sequences: in int8 exactly, but for the last digit of torch's exponential
    where it splits rows between more than two threads. How a prompt is cut into chunks moves it by rounding.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        checkpoint: Checkpoint,
        *,
        precision: str,
        kv_precision: str,
        blocks: int,
        state_dir: Path,
        device: str = "cpu",
        threads: int = 0,
        context_tokens: int = 0,
        window_tokens: int = 0,
        layers: range | None = None,
        graph_sequences: int = 64,
    ) -> None:
        """Load the weights of `layers` (all by default) and allocate `blocks` of keys and values.

        `threads`, `context_tokens` and `window_tokens` may be 0: torch's, the model's, and no window but the model's.
        On a GPU decode steps of up to `graph_sequences` texts replay CUDA graphs; 0 records none. Raises ConfigError
        for what this machine cannot compute, OutOfMemory when memory does not suffice.
        """
        config = checkpoint.config
        self.config = msgspec.structs.replace(config, max_positions=context_tokens or config.max_positions)
        self.precision = precision
        self.kv_precision = kv_precision
        self.blocks = blocks
        self._digest = checkpoint.digest
        self._layers = layers or range(config.layers)
        self._device = torch.device(device)
        if self._device.type == "cpu" and threads:
            torch.set_num_threads(threads)
        if precision == "int4" and not Int4Linear.is_available():
            raise ConfigError(
                f"torch {torch.__version__} has no int4 kernels for this processor; set generate.precision = int8",
                param="generate.precision",
            )
        windows = [window for window in (config.sliding_window, window_tokens) if window]
        self._window = min(windows) if windows else None
        computed = torch.float32 if self._device.type == "cpu" or precision == "fp32" else torch.bfloat16
        quantized = (
            quantized_weights(checkpoint, "int4" if precision == "int4" else "int8", state_dir)
            if precision in ("int8", "int4")
            else None
        )
        try:
            with torch.inference_mode():
                weights = WeightLoader(checkpoint, precision, self._device, quantized).load(self._layers)
                cache = KvCache(
                    config,
                    layers=len(self._layers),
                    blocks=blocks,
                    precision=kv_precision,
                    device=self._device,
                    computed=computed,
                )
                self._decoder = Decoder(
                    config,
                    weights,
                    cache,
                    positions=self.config.max_positions,
                    device=self._device,
                    computed=computed,
                )
        except (RuntimeError, MemoryError) as error:  # torch's own class for a full GPU is a RuntimeError
            raise OutOfMemory(
                f"{_shown(error)}; lower generate.kv.max_bytes or generate.precision"
            ) from error
        self.memory = Memory(weights_bytes=weights.nbytes, kv_bytes=cache.nbytes)
        self._graphs: GpuGraphs | None = None
        if self._device.type == "cuda" and graph_sequences and self._is_whole:
            self._graphs = GpuGraphs(self._decoder, graph_sequences, self._window)

    @property
    def _is_whole(self) -> bool:
        return len(self._layers) == self.config.layers

    def run(self, batch: Batch) -> np.ndarray:
        """See `Runner`. After an EngineError the same batch may be run again, or in smaller pieces, one after another."""
        assert self._is_whole, "a range of layers has `forward` only"
        try:
            with torch.inference_mode():
                if self._graphs is not None and self._graphs.fits(batch):
                    return self._graphs.run(batch).cpu().numpy()
                plan = self._plan(batch)
                hidden = self._decoder.layers(plan, self._decoder.embed(plan))
                return self._decoder.logits(plan, hidden).cpu().numpy()
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise OutOfMemory(
                f"the GPU's memory does not suffice for a step of {len(batch.tokens)} tokens ({_shown(error)}); lower "
                "schedule.max_batch_tokens or kv.gpu_memory_fraction"
            ) from error
        except (RuntimeError, IndexError) as error:
            raise EngineError(
                f"torch failed on a step of {len(batch.tokens)} tokens: {_shown(error)}"
            ) from error

    def forward(self, batch: Batch, hidden: torch.Tensor | None = None) -> torch.Tensor:
        """Of a range of layers: hidden states (M, hidden) in, out; the first range takes none, the last gives logits."""
        with torch.inference_mode():
            plan = self._plan(batch)
            given = self._decoder.embed(plan) if hidden is None else hidden
            made = self._decoder.layers(plan, given)
            return self._decoder.logits(plan, made) if self._layers.stop == self.config.layers else made

    def describe(self) -> dict[str, Any]:
        """See `Runner`."""
        return {
            "name": "torch",
            "version": torch.__version__,
            "device": torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "cpu",
            "digest": self._digest,
            "precision": self.precision,
            "kv_precision": self.kv_precision,
            "threads": torch.get_num_threads() if self._device.type == "cpu" else 0,
            "layers": [self._layers.start, self._layers.stop],
            "window_tokens": self._window or 0,
            "weights_bytes": self.memory.weights_bytes,
            "kv_bytes": self.memory.kv_bytes,
        }

    def close(self) -> None:
        """Free everything; the runner cannot be used afterwards."""
        self._graphs = None
        self.__dict__.pop("_decoder", None)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _plan(self, batch: Batch) -> Plan:
        return make_plan(
            batch, window=self._window, zero_slot=self._decoder.cache.zero_slot, device=self._device
        )


def _shown(error: BaseException) -> str:
    """First line of a library's message, which may go on for pages."""
    return (str(error).strip() or repr(error)).splitlines()[0][:200]

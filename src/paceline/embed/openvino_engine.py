"""The engine on OpenVINO: one compiled model, several streams, weights once in memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import numpy as np
import openvino as ov

from paceline.base.errors import ConfigError, EngineError
from paceline.embed.architecture import Tensors, architecture
from paceline.embed.batch_inputs import padded_inputs, ragged_inputs
from paceline.embed.folder import ModelFolder
from paceline.embed.graph import Linear, onnx_graph, plain_linear, ragged_graph
from paceline.embed.layout import (
    Layout,
    Precision,
    Rate,
    check_threads,
    choose,
    kept,
    layout_file,
    usable_cores,
)
from paceline.embed.policy import EmbedPolicy
from paceline.embed.quantize import Quality, Quantized, quantized
from paceline.embed.weights import Weights

_HINTS: Final[dict[Precision, str]] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""int8 is in the graph itself; what is not quantised stays fp32."""

_SHORT_TOKENS: Final = 128
"""Every single text up to this length is compiled before the first request."""

_PROBE_LAYERS: Final = 1
_PROBE_ROUNDS: Final = 4
_PROBE_LENGTH: Final = 32


class OpenVinoEngine:
    """See `engine.EmbedEngine`."""

    name = "openvino"

    def __init__(
        self, folder: ModelFolder, layout: Layout, state_dir: Path, *, layers: int | None = None
    ) -> None:
        """Builds and compiles; `layers` cuts the encoder short, for timing. Raises ConfigError."""
        self.precision: Precision = layout.precision
        self.dimensions = folder.dimensions
        self.max_tokens = folder.max_tokens
        self.lanes = layout.streams
        self.layout = layout
        self._quality: Quality | None = None
        self._first_position: int | None = None
        self._mapped: list[Weights | Quantized] = []
        if folder.is_onnx:
            model = onnx_graph(folder)
            self._onnx_inputs = [node.get_friendly_name() for node in model.get_parameters()]
        else:
            linear: Linear = plain_linear
            tensors = Tensors(folder)
            self._mapped.append(tensors.weights)
            if layout.precision == "int8":
                store = quantized(folder, state_dir)
                linear, self._quality = store.linear, store.quality
                self._mapped.append(store)
            model = ragged_graph(folder, tensors, linear, layers=layers)
            self._first_position = architecture(folder).first_position
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[layout.precision],
            "NUM_STREAMS": layout.streams,
            "INFERENCE_NUM_THREADS": layout.threads,
            # The cores are shared with the web server and other workers: the kernel places threads better.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            compiled = ov.Core().compile_model(model, "CPU", options)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ConfigError(
                f"OpenVINO {ov.__version__} cannot compile {folder.path} ({reason}); "
                "set embed.engine = onnxruntime if the folder has ONNX, or report the model type",
                param="embed.model",
            ) from error
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(layout.streams):
            self._idle.put(compiled.create_infer_request())

    def run(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """See `engine.EmbedEngine.run`."""
        inputs = self._inputs(batch)
        request = self._idle.get()
        if request is None:
            self._idle.put(None)
            raise EngineError("the engine is closed; the server is stopping")
        try:
            request.infer(inputs, share_inputs=True, share_outputs=True)
            return np.array(request.get_output_tensor(0).data)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise EngineError(
                f"OpenVINO failed on a batch of {len(batch)} texts ({reason}); try again"
            ) from error
        finally:
            self._idle.put(request)

    def _inputs(self, batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        if self._first_position is not None:
            return ragged_inputs(batch, self._first_position, self.layout.bucket)
        arrays = padded_inputs(batch, self.layout.bucket, self.max_tokens)
        return [arrays[name] for name in self._onnx_inputs]

    def warm(self, budget_s: float) -> None:
        """Compile shapes on every stream: all short single texts, then full batches until `budget_s` is over."""
        requests = [self._idle.get() for _ in range(self.lanes)]
        started_at = time.monotonic()
        short = min(_SHORT_TOKENS, self.max_tokens)
        singles = [(1, length) for length in range(self.layout.bucket, short + 1, self.layout.bucket)]
        rows = [
            (max(1, self.layout.max_cost // length), length)
            for length in (32, 64, 16, 128, 8)
            if length <= short
        ]
        fewer = [(count * 3 // 4, length) for count, length in rows if count >= 4]
        for index, (count, length) in enumerate([*singles, *rows, *fewer]):
            if index >= len(singles) and time.monotonic() - started_at > budget_s:
                break
            inputs = self._inputs([np.zeros(length, np.int32)] * count)
            for request in requests:
                request.start_async(inputs, share_inputs=True)
            for request in requests:
                request.wait()
        for request in requests:
            self._idle.put(request)
        # OpenVINO holds its own repacked weights now; the originals were read once and may leave memory.
        for mapped in self._mapped:
            mapped.forget()

    def time_batch(self, rows: int, length: int) -> tuple[float, float, int]:
        """One batch on every stream at once: (wall seconds, processor seconds, tokens)."""
        requests = [self._idle.get() for _ in range(self.lanes)]
        inputs = self._inputs([np.zeros(length, np.int32)] * rows)
        wall_at, cpu_at = time.perf_counter(), time.process_time()
        for request in requests:
            request.start_async(inputs, share_inputs=True)
        for request in requests:
            request.wait()
        wall_s, cpu_s = time.perf_counter() - wall_at, time.process_time() - cpu_at
        for request in requests:
            self._idle.put(request)
        return wall_s, cpu_s, rows * length * self.lanes

    def describe(self) -> dict[str, object]:
        """See `engine.EmbedEngine.describe`."""
        about: dict[str, object] = {
            "library": f"openvino {ov.__version__}",
            "precision": self.precision,
            "streams": self.layout.streams,
            "threads": self.layout.threads,
            "max_cost": self.layout.max_cost,
            "bucket": self.layout.bucket,
        }
        if self._quality is not None:
            about["cosine_min"] = self._quality.cosine_min
            about["cosine_mean"] = self._quality.cosine_mean
        return about

    def close(self) -> None:
        """See `engine.EmbedEngine.close`; waits for running batches."""
        for _ in range(self.lanes):
            self._idle.get()
        self.lanes = 0
        self._idle.put(None)


def choose_layout(policy: EmbedPolicy, folder: ModelFolder, state_dir: Path) -> Layout:
    """The measured layout for this model on these cores, from `state_dir` if it was measured before.

    Measures the first layer of the encoder, which runs like all others. Raises ConfigError.
    """
    cores = usable_cores()
    check_threads(policy, cores)
    precisions: tuple[Precision, ...] = ("fp32",) if policy.precision == "auto" else (policy.precision,)
    if policy.precision == "auto" and "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        precisions = ("fp32", "bf16")
    engines: dict[tuple[int, Precision], OpenVinoEngine] = {}
    length = min(_PROBE_LENGTH, folder.max_tokens)

    def measure(layouts: Sequence[Layout]) -> list[Rate]:
        for layout in layouts:
            key = (layout.streams, layout.precision)
            if key not in engines:
                engines[key] = OpenVinoEngine(folder, layout, state_dir, layers=_PROBE_LAYERS)
        times: list[list[tuple[float, float]]] = [[] for _ in layouts]
        for _ in range(1 + _PROBE_ROUNDS):
            for layout, taken in zip(layouts, times, strict=True):
                rows = max(1, layout.max_cost // length)
                wall_s, cpu_s, tokens = engines[layout.streams, layout.precision].time_batch(rows, length)
                taken.append((wall_s / tokens, cpu_s / tokens))
        # The first round compiles; of the others the best counts, for noise only ever adds.
        return [Rate(1 / min(w for w, _ in taken[1:]), 1 / min(c for _, c in taken[1:])) for taken in times]

    file = layout_file(state_dir, policy, folder.digest, ov.__version__)
    return kept(file, lambda: choose(policy, cores, precisions, measure))

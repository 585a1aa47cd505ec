"""What an embedding engine is, and how one is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from paceline.base.errors import ConfigError
from paceline.embed.folder import ModelFolder
from paceline.embed.layout import Layout, Precision
from paceline.embed.policy import EmbedPolicy


class EmbedEngine(Protocol):
    """Token ids in, vectors out. `run` may be called from as many threads at once as there are lanes; more wait."""

    name: str
    precision: Precision
    dimensions: int
    max_tokens: int
    lanes: int
    layout: Layout

    def run(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors of `batch`, int32 id arrays of any lengths from 1 to `max_tokens`; blocks.

        Returns float32 (rows, dimensions), of length 1 if the model says so. Raises EngineError.
        """

    def describe(self) -> dict[str, object]:
        """What runs and how, for people: library, precision, layout, measured quality of int8."""

    def close(self) -> None:
        """Free the model; later runs raise EngineError."""


def open_engine(
    policy: EmbedPolicy,
    folder: ModelFolder,
    layout: Layout | None = None,
    *,
    state_dir: Path,
    warm_s: float = 0.3,
) -> EmbedEngine:
    """Load the folder's model, warm. Without `layout` it is measured once (a second) and kept in `state_dir`.

    `warm_s` bounds the warm-up; short single texts are always done. Raises ConfigError.
    """
    if policy.engine == "onnxruntime":
        from paceline.embed.onnxruntime_engine import OnnxRuntimeEngine  # noqa: PLC0415 - an optional package

        return OnnxRuntimeEngine(policy, folder, layout)
    # The library takes 0.3 s to load: only who opens an engine pays.
    from paceline.embed.openvino_engine import OpenVinoEngine, choose_layout  # noqa: PLC0415

    if folder.is_onnx and policy.precision == "int8":
        raise ConfigError(
            f"embed.precision = int8 needs safetensors weights and {folder.path} has ONNX; add model.safetensors",
            param="embed.precision",
        )
    chosen = layout or choose_layout(policy, folder, state_dir)
    engine = OpenVinoEngine(folder, chosen, state_dir)
    engine.warm(warm_s)
    return engine

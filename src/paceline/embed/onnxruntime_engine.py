"""The engine on ONNX Runtime, for ONNX folders; an optional package."""

from __future__ import annotations

from collections.abc import Sequence
from threading import BoundedSemaphore
from typing import Any

import numpy as np

from paceline.base.errors import ConfigError, EngineError
from paceline.embed.batch_inputs import padded_inputs
from paceline.embed.folder import ModelFolder
from paceline.embed.layout import Layout, Precision, check_threads, usable_cores
from paceline.embed.policy import EmbedPolicy
from paceline.embed.pooling import Head

try:
    import onnxruntime
except ModuleNotFoundError as missing:
    raise ConfigError(
        "embed.engine = onnxruntime needs a package that is not installed; run `pip install 'paceline[onnxruntime]'`, "
        "or set embed.engine = openvino, which runs ONNX too",
        param="embed.engine",
    ) from missing


class OnnxRuntimeEngine:
    """See `engine.EmbedEngine`. Runs padded; a row of threads each with its own batch."""

    name = "onnxruntime"

    def __init__(self, policy: EmbedPolicy, folder: ModelFolder, layout: Layout | None = None) -> None:
        """Raises ConfigError for folders without ONNX, other precisions and unknown inputs."""
        if not folder.is_onnx:
            raise ConfigError(
                f"embed.engine = onnxruntime needs ONNX and {folder.path} has {folder.weights[0].name}; "
                "set embed.engine = openvino, or export the model to onnx/model.onnx and remove the safetensors",
                param="embed.engine",
            )
        if policy.precision not in ("auto", "fp32"):
            raise ConfigError(
                f"embed.precision = {policy.precision} is not offered by embed.engine = onnxruntime (fp32 is); "
                "set embed.precision = fp32, or quantise model.onnx itself",
                param="embed.precision",
            )
        cores = usable_cores()
        check_threads(policy, cores)
        threads = policy.threads or cores
        streams = policy.streams or threads
        self.layout = layout or Layout(
            streams, threads, policy.batch.max_cost or 512, policy.batch.bucket or 8, "fp32"
        )
        self.precision: Precision = "fp32"
        self.dimensions = folder.dimensions
        self.max_tokens = folder.max_tokens
        self.lanes = self.layout.streams
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, self.layout.threads // self.layout.streams)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        file = folder.weights[0]
        try:
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library has a dozen unrelated exception types
            reason = str(error).strip().splitlines()[-1]
            raise ConfigError(
                f"{file} cannot be read as ONNX ({reason}); export it again", param="embed.model"
            ) from error
        self._session: Any = session
        self._inputs = [node.name for node in session.get_inputs()]
        unknown = set(self._inputs) - {"input_ids", "attention_mask", "token_type_ids"}
        outputs = [node.name for node in session.get_outputs()]
        self._output = next(
            (
                name
                for name in ("sentence_embedding", "last_hidden_state", "token_embeddings")
                if name in outputs
            ),
            None,
        )
        if unknown or self._output is None:
            raise ConfigError(
                f"{file} has inputs {self._inputs} and outputs {outputs}; expected input_ids, attention_mask, perhaps "
                "token_type_ids, and last_hidden_state, token_embeddings or sentence_embedding",
                param="embed.model",
            )
        self._head = Head(folder)
        self._free = BoundedSemaphore(self.lanes)

    def run(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """See `engine.EmbedEngine.run`."""
        inputs = padded_inputs(batch, 1, self.max_tokens)
        with self._free:
            if self._session is None:
                raise EngineError("the engine is closed; the server is stopping")
            try:
                (result,) = self._session.run([self._output], {name: inputs[name] for name in self._inputs})
            except Exception as error:  # the library has a dozen unrelated exception types
                reason = str(error).strip().splitlines()[-1]
                raise EngineError(
                    f"ONNX Runtime failed on a batch of {len(batch)} texts ({reason}); try again"
                ) from error
        if self._output == "sentence_embedding":
            return np.asarray(result, np.float32)
        return self._head(result, inputs["attention_mask"])

    def describe(self) -> dict[str, object]:
        """See `engine.EmbedEngine.describe`."""
        return {
            "library": f"onnxruntime {onnxruntime.__version__}",
            "precision": self.precision,
            "streams": self.layout.streams,
            "threads": self.layout.threads,
            "max_cost": self.layout.max_cost,
            "bucket": self.layout.bucket,
        }

    def close(self) -> None:
        """See `engine.EmbedEngine.close`; waits for running batches."""
        for _ in range(self.lanes):
            self._free.acquire()
        self._session = None
        for _ in range(self.lanes):
            self._free.release()

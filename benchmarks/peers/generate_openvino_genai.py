"""openvino-genai's continuous batching in the generation benchmark, on the GGUF files, which it reads itself.

Its defaults are its best on a CPU with bf16: inference in bf16, dynamic quantisation of the activations of int8 and int4
layers, keys and values in u8. Only the budget of a step is raised (see README.md).
"""

from __future__ import annotations

import os
import time
from importlib.metadata import version
from itertools import count
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
from generate_contest import THREADS, Output, compete

STEP_TOKENS = int(os.environ.get("PEER_OPENVINO_STEP_TOKENS", "256"))
CACHE_GB = 1


class OpenVinoGenai:
    def __init__(self, model: Path, precision: str) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.max_num_batched_tokens = STEP_TOKENS
        scheduler.cache_size = CACHE_GB
        scheduler.enable_prefix_caching = False  # no prompt is seen twice
        properties = {"INFERENCE_NUM_THREADS": THREADS}
        path = model / f"{model.name}-{precision}.gguf"
        self.pipeline = genai.ContinuousBatchingPipeline(path, scheduler, "CPU", properties)
        self.numbers = count()
        self.versions = {name: version(name) for name in ("openvino", "openvino-genai")}
        self.settings = {
            "threads": THREADS,
            "max_num_batched_tokens": STEP_TOKENS,
            "cache_gb": CACHE_GB,
        }

    def generate(self, prompts: list[list[int]], new_tokens: int) -> list[Output]:
        config = genai.GenerationConfig(max_new_tokens=new_tokens, ignore_eos=True, do_sample=False)
        started_at = time.perf_counter()
        handles = [
            self.pipeline.add_request(next(self.numbers), ov.Tensor(np.array([prompt], np.int64)), config)
            for prompt in prompts
        ]
        outputs = [Output([], 0.0) for _ in prompts]
        while self.pipeline.has_non_finished_requests():
            self.pipeline.step()
            now_s = time.perf_counter() - started_at
            for handle, output in zip(handles, outputs, strict=True):
                if handle.can_read():
                    for piece in handle.read().values():
                        output.tokens += piece.generated_ids
                    output.first_s = output.first_s or now_s
        return outputs


if __name__ == "__main__":
    compete("openvino-genai", OpenVinoGenai, ("q8_0", "f16", "q4_0"))

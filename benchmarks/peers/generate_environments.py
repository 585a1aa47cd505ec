"""Makes the two environments of the generation benchmark: python -m benchmarks.peers.generate_environments

`generate` holds llama.cpp, openvino-genai and transformers, `generate-vllm` vLLM's CPU build with the libraries it asks
for. llama-cpp-python comes as source and is compiled for this very processor, which takes minutes, a C++ compiler and cmake.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import environments
from benchmarks.peers.launch import HERE, HOME


@dataclass(frozen=True)
class Environment:
    name: str

    @property
    def environment(self) -> Path:
        return HOME / self.name

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    @property
    def requirements(self) -> Path:
        return HERE / "requirements" / f"{self.name}.txt"


ENVIRONMENTS = {name: Environment(name) for name in ("generate", "generate-vllm")}


def main() -> int:
    os.environ.setdefault("CMAKE_ARGS", "-DGGML_NATIVE=ON")
    for one in ENVIRONMENTS.values():
        environments.make(one)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Whether this machine can run the kernels."""

from __future__ import annotations

import platform
import sys
from functools import cache
from typing import Final

from llvmlite import binding

_NEEDED: Final = {
    "int8": ("avx512f", "avx512bw", "avx512vl", "avx512vnni"),
    "bf16": ("avx512f", "avx512bw", "avx512vl", "avx512bf16"),
    "fp32": ("avx512f", "avx512bw", "avx512vl"),
}
DEFAULT_PRECISION: Final = "bf16"
"""What `auto` stands for."""


def unsupported(precision: str) -> str:
    """Why this machine cannot run weights of `precision` (or `auto`); empty when it can."""
    wanted = DEFAULT_PRECISION if precision == "auto" else precision
    if wanted not in _NEEDED:
        return f"it has no kernels for {precision} ({', '.join(_NEEDED)} are there)"
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"it needs Linux on x86_64, this is {sys.platform} on {platform.machine()}"
    missing = [feature for feature in _NEEDED[wanted] if not _features().get(feature)]
    if missing:
        return f"the processor has no {', '.join(missing)}, which {wanted} needs"
    return ""


@cache
def _features() -> dict[str, bool]:
    return dict(binding.get_host_cpu_features())

"""`paceline version`: what to put into a bug report."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from paceline import __version__
from paceline.cli.console import say

command = App(
    name="version",
    help_epilogue="Examples:\n\n    paceline version\n    paceline version --json",
)

LIBRARIES = (
    "openvino",
    "onnxruntime",
    "tokenizers",
    "numpy",
    "uvicorn",
    "uvloop",
    "starlette",
    "msgspec",
    "redis",
)

_USEFUL = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")
"""Processor flags that decide which precision is fast."""


class Machine(msgspec.Struct, frozen=True):
    """What the speed of a model depends on."""

    system: str
    processor: str
    cores: int
    """Those the scheduler grants this process."""
    memory_bytes: int
    instructions: list[str]


@command.default
def version(
    *, json: Annotated[bool, Parameter(negative="", show_default=False, help="Print JSON.")] = False
) -> None:
    """Print the versions of Paceline, Python and the libraries that matter, and the machine."""
    here, python, installed = machine(), platform.python_version(), libraries()
    if json:
        found = {"paceline": __version__, "python": python, "machine": here, "libraries": installed}
        say(msgspec.json.encode(found).decode())
        return
    say(f"paceline {__version__}, Python {python}, {here.system}")
    say(f"{here.processor}, {here.cores} cores, {here.memory_bytes / 2**30:.1f} GiB memory")
    say(f"instructions: {' '.join(here.instructions) or 'unknown'}")
    say(", ".join(f"{name} {release}" for name, release in installed.items()))


def machine() -> Machine:
    """Look at the machine we run on."""
    cpuinfo = Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    granted = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return Machine(
        system=platform.platform(terse=True),
        processor=fields.get("model name") or platform.processor() or platform.machine(),
        cores=len(granted),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        instructions=[flag for flag in _USEFUL if flag in flags],
    )


def libraries() -> dict[str, str]:
    """Installed versions of the libraries that the answers and the speed depend on."""
    versions: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions

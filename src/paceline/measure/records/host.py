"""The machine that measures, and a fingerprint that changes when its speed may have."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import psutil

from paceline.measure.report import Host

_GIB = 2**30


def this_host(cpuinfo: Path = Path("/proc/cpuinfo")) -> Host:
    """Look at the machine we run on."""
    cpu = cpu_model(cpuinfo)
    cores = _cores()
    memory = int(psutil.virtual_memory().total)
    python = platform.python_version()
    return Host(
        fingerprint=fingerprint(cpu, cores, memory, platform.release(), python),
        hostname=platform.node(),
        cpu=cpu,
        cores=cores,
        memory_bytes=memory,
        system=f"{platform.system()} {platform.release()}",
        python=python,
    )


def fingerprint(cpu: str, cores: int, memory_bytes: int, kernel: str, python: str) -> str:
    """Twelve hexadecimal digits of what the speed of a run depends on.

    Memory counts in whole GiB, as kernels differ in how much they keep to themselves. Neither the host's name nor its
    machine id is in it: containers change them from run to run, and a report may be passed on.
    """
    parts = "\n".join((cpu, str(cores), str(round(memory_bytes / _GIB)), kernel, python))
    return hashlib.sha256(parts.encode()).hexdigest()[:12]


def cpu_model(cpuinfo: Path) -> str:
    """As Linux names it, else as Python can tell."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), " ".join(value.split()))
    if model := fields.get("model name") or fields.get("Model"):
        return model
    if part := fields.get("CPU part"):  # ARM servers give numbers only
        return f"{platform.machine()} {fields.get('CPU implementer', '')} {part}"
    return platform.processor() or platform.machine() or "unknown"


def _cores() -> int:
    """Those the scheduler grants this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

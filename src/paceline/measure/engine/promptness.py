"""Asking the kernel to let this process run as soon as it is due, where the server shares its cores.

The generator needs a core for some microseconds at a time, but at exact moments. Since Linux 6.12 a process may ask for
a short time slice (`sched_setattr(2)`: `sched_runtime` of SCHED_OTHER), which moves its deadline forward, so that it
comes before those that compute; nobody's share changes, and no privilege is needed. Who may also lower its nice value
does so, where a schedule bounds what the generator takes. Elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from contextlib import suppress

SLICE_NS = 100_000
"""The shortest that the kernel grants."""
_NUMBERS = {"x86_64": 314, "aarch64": 274}
"""Of the system call, which the C library does not wrap before glibc 2.41."""
_SCHED_OTHER = 0
NICE = -15


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def run_promptly(*, paced: bool) -> bool:
    """Ask for it; whether the kernel agreed. Older kernels ignore the slice and agree.

    `paced` loads leave the core to others between requests; a loop without pauses would take it from the server.
    """
    if paced:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, min(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    number = _NUMBERS.get(platform.machine())
    if sys.platform != "linux" or number is None or os.sched_getscheduler(0) != _SCHED_OTHER:
        return False
    wanted = _Attributes(
        size=ctypes.sizeof(_Attributes),
        policy=_SCHED_OTHER,
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        runtime=SLICE_NS,
    )
    return bool(ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wanted), 0) == 0)

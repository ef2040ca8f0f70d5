"""How the scheduler treats the sampler: the lowest priority at which its ticks come in time.

Where all cores are busy nothing ordinary does: at nice 19 most ticks are missed, at nice 0, even
with short turns, half of them come more than 2 ms late. The lowest real-time priority keeps all of
them, for turns of a tenth of a millisecond. docs/telemetry.md has the figures.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

__all__ = ["take_turns"]

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_PR_SET_TIMERSLACK = 29
_SLACK_NS = 1_000
_SLICE_NS = 100_000
"""The shortest turn that Linux 6.12 and later grant: who asks for short ones gets them sooner."""


def take_turns() -> str:
    """Ask for turns that come in time; return what the kernel granted, for the record."""
    if sys.platform != "linux":
        return "as started"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_TIMERSLACK, _SLACK_NS)
    lowest = os.sched_get_priority_min(os.SCHED_FIFO)
    try:
        # What a sampler starts itself (nvidia-smi, say) is ordinary again.
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(lowest))
    except OSError:
        return f"{_short_turns(libc)}; real-time priority is not permitted"
    return f"real-time, lowest ({lowest})"


def _short_turns(libc: ctypes.CDLL) -> str:
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        # struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period
        asked = struct.pack("=IIQiIQQQ", 48, 0, 0, nice, 0, _SLICE_NS, 0, 0)
        if libc.syscall(number, 0, ctypes.create_string_buffer(asked), 0) == 0:
            return f"nice {nice}, turns of {_SLICE_NS / 1e6:g} ms"
    return f"nice {nice}"

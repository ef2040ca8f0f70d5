"""The processor's own counters over some work: instructions, cycles, cache and branch misses.

perf_event_open(2) has no wrapper in libc, so it is called by number. Each thread of the process has
its own counters, since only threads that start later would inherit them. Where the processor has
fewer counters than are asked for, the kernel takes turns, and values are scaled to the whole time.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UnavailableError
from harness.profiling.counted import tokens_of

if TYPE_CHECKING:
    from harness.contracts import Observation

__all__ = ["EVENTS", "hardware_counters", "why_refused"]

EVENTS = {
    "instructions": 1,
    "cycles": 0,
    "cache_misses": 3,
    "branch_misses": 5,
}
"""Name to PERF_COUNT_HW_… of linux/perf_event.h."""

_CALL = {"x86_64": 298, "aarch64": 241}
_SIZE = 112
_DISABLED, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 0, 1 << 5, 1 << 6
_TIMES = 0b11
"""PERF_FORMAT_TOTAL_TIME_ENABLED and …_RUNNING."""
_ENABLE, _DISABLE = 0x2400, 0x2401
_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")

Open = Callable[[int, int], int]
"""Opens an event for a thread; returns a file descriptor, or the negative error number."""


def hardware_counters(
    iterate: Callable[[], Observation], open_: Open | None = None
) -> dict[str, float]:
    """Return what the processor counts over one iteration, per token that it made.

    Raises:
        UnavailableError: where none can be counted, with the setting that forbids it.
    """
    opened: dict[str, list[int]] = {name: [] for name in EVENTS}
    threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    refused = 0
    with contextlib.ExitStack() as closing:
        for name, event in EVENTS.items():
            for thread in threads:
                file = (open_ or _open)(event, thread)
                if file < 0:
                    refused = -file
                    continue
                opened[name].append(file)
                closing.callback(os.close, file)
        if not any(opened.values()):
            raise UnavailableError(f"counters: {why_refused(refused)}")
        files = [file for of in opened.values() for file in of]
        for file in files:
            fcntl.ioctl(file, _ENABLE, 0)
        observation = iterate()
        for file in files:
            fcntl.ioctl(file, _DISABLE, 0)
        counts = {name: sum(map(_count, of)) for name, of in opened.items() if of}
    tokens = tokens_of(observation)
    return {name: count / tokens for name, count in counts.items() if tokens}


def why_refused(number: int, paranoid: str | None = None) -> str:
    """Return which setting or lack forbids to count, and what would help."""
    if number in (errno.EACCES, errno.EPERM):
        level = _level() if paranoid is None else paranoid
        if level.lstrip("-").isdigit() and int(level) > 2:
            return (
                f"kernel.perf_event_paranoid is {level}, which leaves counters to root: "
                "sysctl kernel.perf_event_paranoid=2"
            )
        return (
            f"perf_event_open is refused though kernel.perf_event_paranoid is {level}: a filter of "
            "the container forbids it (docker run --cap-add PERFMON, or a seccomp profile of its "
            "own)"
        )
    if number in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV):
        return "the processor shows this machine no counters, as virtual machines often have it"
    if number == errno.ENOSYS:
        return f"no perf_event_open on this kernel or architecture ({platform.machine()})"
    return f"perf_event_open: {os.strerror(number)}"


def _level() -> str:
    try:
        return _PARANOID.read_text().strip()
    except OSError:
        return "not set"


def _open(event: int, thread: int) -> int:
    call = _CALL.get(platform.machine())
    if call is None:
        return -errno.ENOSYS
    flags = _DISABLED | _EXCLUDE_KERNEL | _EXCLUDE_HV
    asked = struct.pack("=IIQQQQQ", 0, _SIZE, event, 0, 0, _TIMES, flags).ljust(_SIZE, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    file = libc.syscall(call, ctypes.c_char_p(asked), thread, -1, -1, 8)  # 8: close on exec
    return int(file) if file >= 0 else -ctypes.get_errno()


def _count(file: int) -> float:
    value, enabled, running = struct.unpack("=QQQ", os.read(file, 24))
    return float(value * enabled / running) if running else 0.0

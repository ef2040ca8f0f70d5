"""What about this machine helps or hinders measuring, and the command that would help.

One table of checks over /proc and /sys. It must not know about plugins or packages: the verb
`doctor` adds those.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.environment.cgroup import Cgroup
from harness.environment.cpu import CPU
from harness.environment.facts import AbsentError, text
from harness.environment.system import MEMORY, meminfo_bytes

__all__ = ["Finding", "Status", "machine_findings"]

Status = Literal["ok", "note", "missing"]

# Bits of /proc/self/status' CapEff (capabilities(7)).
_CAP_SYS_PTRACE, _CAP_SYS_ADMIN, _CAP_PERFMON = 19, 21, 38
_GIB = 2**30
_FAST_CLOCKS = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "timebase"}


@dataclass(frozen=True)
class Finding:
    """What one check of this machine or installation found."""

    check: str
    """What was looked at."""
    status: Status
    """`ok`; `note` where figures may suffer; `missing` where something cannot be done."""
    finding: str
    """What was seen."""
    remedy: str | None = None
    """The command or step that would help."""


def machine_findings(root: Path = Path("/")) -> Iterator[Finding]:
    """Yield a finding for each check of the machine."""
    for check, look in _CHECKS.items():
        try:
            status, finding, remedy = look(root)
        except (AbsentError, OSError, ValueError, LookupError) as error:
            status, finding, remedy = "note", f"not known: {error}", None
        yield Finding(check, status, finding, remedy)


_Found = tuple[Status, str, str | None]


def _governor(root: Path) -> _Found:
    try:
        governor, driver = CPU["governor"](root), CPU["scaling_driver"](root)
    except AbsentError as error:
        return "note", f"{error}; a change of clock cannot be seen", None
    if governor == "performance":
        return "ok", f"{governor} ({driver})", None
    return (
        "note",
        f"{governor} ({driver}): the clock follows the load",
        "sudo cpupower frequency-set -g performance",
    )


def _cores(root: Path) -> _Found:
    usable, online = len(CPU["affinity"](root)), CPU["logical_cores"](root)
    if usable < online:
        return "note", f"{usable} of {online} may be used (affinity)", None
    return "ok", f"{usable}", None


def _smt(root: Path) -> _Found:
    if not CPU["smt"](root):
        return "ok", "off: each core runs one thread", None
    cores = CPU["physical_cores"](root)
    return (
        "note",
        f"on: {CPU['logical_cores'](root)} logical cores share {cores}",
        f"--set backend.threads={cores}",
    )


def _cpu_quota(root: Path) -> _Found:
    quota, usable = Cgroup(root).cpu_cores(), len(CPU["affinity"](root))
    if quota is None:
        return "ok", "none", None
    if quota >= usable:
        return "ok", f"{quota:g} cores", None
    return (
        "note",
        f"{quota:g} of {usable} cores: more threads than that are stopped by the kernel",
        f"--set backend.threads={max(int(quota), 1)}",
    )


def _memory(root: Path) -> _Found:
    available, left = meminfo_bytes(root, "MemAvailable"), Cgroup(root).memory_left_bytes()
    if left is not None and left < available:
        return "note", f"{left / _GIB:.1f} GiB left within the control group's limit", None
    return "ok", f"{available / _GIB:.1f} GiB available", None


def _swap(root: Path) -> _Found:
    total = meminfo_bytes(root, "SwapTotal")
    used = total - meminfo_bytes(root, "SwapFree")
    if not total:
        return "ok", "none: what does not fit fails at once instead of slowing down", None
    if used > _GIB // 4:
        return "note", f"{used / _GIB:.1f} GiB in use", "sudo swapoff -a, once memory is free"
    return "ok", f"{total / _GIB:.1f} GiB, hardly used", None


def _huge_pages(root: Path) -> _Found:
    chosen = MEMORY["transparent_hugepages"](root)
    if chosen == "never":
        remedy = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
        return "note", "never: weights lie in 4 KiB pages", remedy
    if chosen == "madvise":
        return "ok", "madvise: THP_MEM_ALLOC_ENABLE=1 lets torch ask for them", None
    return "ok", chosen, None


def _may(root: Path, *capabilities: int) -> bool:
    """Whether this process holds one of these capabilities."""
    for line in text(root, "proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return any(int(value, 16) >> bit & 1 for bit in capabilities)
    return False


def _ptrace(root: Path) -> _Found:
    if _may(root, _CAP_SYS_PTRACE):
        return "ok", "to any process (CAP_SYS_PTRACE)", None
    try:
        scope = text(root, "proc/sys/kernel/yama/ptrace_scope")
    except AbsentError:
        return "ok", "to this user's own processes (no Yama)", None
    remedy = "sudo sysctl kernel.yama.ptrace_scope=0"
    if scope == "0":
        return "ok", "to this user's own processes", None
    if scope == "1":
        return "note", "only to processes that the profiler has started (Yama)", remedy
    return "missing", f"to none (Yama, ptrace_scope {scope})", remedy if scope == "2" else None


def _perf_events(root: Path) -> _Found:
    try:
        level = int(text(root, "proc/sys/kernel/perf_event_paranoid"))
    except AbsentError:
        return "missing", "this kernel has no performance counters", None
    remedy = "sudo sysctl kernel.perf_event_paranoid=1"
    if level <= 1 or _may(root, _CAP_PERFMON, _CAP_SYS_ADMIN):
        return "ok", f"allowed (level {level})", None
    if level == 2:
        return "note", "of own code only, not of the kernel (level 2)", remedy
    return "missing", f"not allowed (level {level})", remedy


def _clock_source(root: Path) -> _Found:
    source = text(root, "sys/devices/system/clocksource/clocksource0/current_clocksource")
    if source in _FAST_CLOCKS:
        return "ok", source, None
    return "note", f"{source}: each look at the clock is a system call", "boot with clocksource=tsc"


_CHECKS: dict[str, Callable[[Path], _Found]] = {
    "usable cores": _cores,
    "SMT": _smt,
    "CPU quota": _cpu_quota,
    "clock policy": _governor,
    "clock source": _clock_source,
    "memory": _memory,
    "swap": _swap,
    "huge pages": _huge_pages,
    "attach a profiler": _ptrace,
    "perf events": _perf_events,
}

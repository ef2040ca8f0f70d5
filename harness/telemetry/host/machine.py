"""What is read of the machine besides its cores: pressure, quota, swap, memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.environment.cgroup import Cgroup
from harness.environment.facts import AbsentError
from harness.telemetry.host.files import keyed_numbers, pressure_us
from harness.telemetry.host.groups import Name, OneFile

__all__ = ["CpuPressure", "IoPressure", "MachineMemory", "MemoryPressure", "Swap", "Throttling"]

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class CpuPressure(OneFile):
    """Time in which some task of the machine was ready but had no core."""

    names: tuple[Name, ...] = (("cpu_wait_s", "s", "counter"),)

    def place(self) -> Path:
        """Pressure stall information, since Linux 4.20."""
        return self.context.root / "proc/pressure/cpu"

    def parse(self, written: bytes) -> Sequence[float]:
        """Seconds."""
        return (pressure_us(written) / 1e6,)


class MemoryPressure(CpuPressure):
    """Time in which some task waited for memory to be freed or to come back."""

    names = (("memory_wait_s", "s", "counter"),)

    def place(self) -> Path:
        """As for the cores."""
        return self.context.root / "proc/pressure/memory"


class IoPressure(CpuPressure):
    """Time in which some task waited for storage."""

    names = (("io_wait_s", "s", "counter"),)

    def place(self) -> Path:
        """As for the cores."""
        return self.context.root / "proc/pressure/io"


class Throttling(OneFile):
    """How often and how long the control group's CPU quota stopped its processes."""

    tier = "fast"
    names = (("cgroup_throttled_s", "s", "counter"), ("cgroup_throttles", "1", "counter"))

    def place(self) -> Path:
        """The group of this process, which is the worker's too."""
        cgroup = Cgroup(self.context.root)
        if cgroup.cpu_cores() is None:
            raise AbsentError("the control group has no CPU quota")
        return cgroup.folders("cpu")[0] / "cpu.stat"

    def parse(self, written: bytes) -> Sequence[float]:
        """Seconds and times, in version 2's names or in version 1's."""
        numbers = keyed_numbers(written)
        if b"throttled_usec" in numbers:
            return numbers[b"throttled_usec"] / 1e6, numbers[b"nr_throttled"]
        return numbers[b"throttled_time"] / 1e9, numbers[b"nr_throttled"]


class Swap(OneFile):
    """Bytes moved between memory and swap."""

    names = (("swap_in_bytes", "bytes", "counter"), ("swap_out_bytes", "bytes", "counter"))

    def place(self) -> Path:
        """Of the whole machine."""
        return self.context.root / "proc/vmstat"

    def parse(self, written: bytes) -> Sequence[float]:
        """The kernel counts pages."""
        numbers = keyed_numbers(written)
        return numbers[b"pswpin"] * _PAGE_BYTES, numbers[b"pswpout"] * _PAGE_BYTES


class MachineMemory(OneFile):
    """What can still be given out without swapping, and what there is."""

    names = (
        ("available_bytes", "bytes", "gauge"),
        ("total_bytes", "bytes", "gauge"),
        ("swap_used_bytes", "bytes", "gauge"),
    )

    def place(self) -> Path:
        """Of the whole machine."""
        return self.context.root / "proc/meminfo"

    def parse(self, written: bytes) -> Sequence[float]:
        """The file counts kibibytes."""
        numbers = keyed_numbers(written)
        swap = numbers[b"SwapTotal"] - numbers[b"SwapFree"]
        return numbers[b"MemAvailable"] * 1024, numbers[b"MemTotal"] * 1024, swap * 1024

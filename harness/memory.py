"""Meters of this process's memory, host or GPU, as `harness.contracts.MemoryMeter`.

They must not know what the memory holds.
"""

import os
import resource
import sys
from pathlib import Path

from harness.contracts import MemoryMeter
from harness.environment.cgroup import Cgroup
from harness.environment.facts import AbsentError
from harness.environment.system import meminfo_bytes

__all__ = ["CudaMeter", "HostMeter", "PortableHostMeter", "meter"]


def meter(device: str) -> MemoryMeter:
    """Return the meter of the memory that holds a model on `cpu` or `cuda`."""
    if device == "cuda":
        return CudaMeter()
    return HostMeter() if sys.platform == "linux" else PortableHostMeter()


class HostMeter:
    """Resident memory on Linux: heap, stacks and the mapped file pages that were touched.

    Weights mapped from a file count once they are read, as weights on the heap do. The kernel
    starts a new peak on request; where it refuses (`resets_peak` is False, e.g. gVisor), the peak
    since the last reset is known only if it is the process's highest ever, and otherwise is the
    most that was seen when the meter was read.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._process = root / "proc/self"
        self._cgroup = Cgroup(root)
        self._seen_bytes = 0
        self._before_bytes = 0
        self.resets_peak = True
        self.reset_peak()

    def current_bytes(self) -> int:
        """Resident bytes now, exact, huge pages included."""
        current = self._rollup_bytes()
        self._seen_bytes = max(self._seen_bytes, current)
        return current

    def peak_bytes(self) -> int:
        """The most resident bytes since `reset_peak`."""
        current = self.current_bytes()
        highest = self._highest_bytes()
        if not self.resets_peak and highest <= self._before_bytes:
            return self._seen_bytes
        return max(highest, current, self._seen_bytes)

    def reset_peak(self) -> None:
        """Start a new peak at what is in use now."""
        try:
            (self._process / "clear_refs").write_text("5")
        except OSError:
            self.resets_peak = False
        self._before_bytes = 0 if self.resets_peak else self._highest_bytes()
        self._seen_bytes = 0
        self.current_bytes()

    def available_bytes(self) -> int:
        """What the machine can still give without swapping, within the control group's limit."""
        available = meminfo_bytes(self._root, "MemAvailable")
        try:
            left = self._cgroup.memory_left_bytes()
        except (AbsentError, OSError, ValueError):
            left = None
        return available if left is None else min(available, left)

    def mapped_bytes(self) -> int | None:
        """Of what is resident now, pages of files: libraries' code, weights that are only mapped.

        None where the kernel does not tell them apart.
        """
        try:
            rollup = (self._process / "smaps_rollup").read_bytes()
        except OSError:
            return None
        sizes = {row[0]: int(row[1]) for row in map(bytes.split, rollup.splitlines()[1:])}
        if b"Anonymous:" not in sizes:
            return None
        return 1024 * (sizes[b"Rss:"] - sizes[b"Anonymous:"])

    def _rollup_bytes(self) -> int:
        # statm is read faster, but until Linux 6.17 it is off by up to 32 pages a core and thread.
        try:
            rollup = (self._process / "smaps_rollup").read_bytes()
        except OSError:
            pages = int((self._process / "statm").read_bytes().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE")
        rows = (line.split() for line in rollup.splitlines()[1:])
        wanted = (b"Rss:", b"Shared_Hugetlb:", b"Private_Hugetlb:")
        return sum(int(row[1]) * 1024 for row in rows if row[0] in wanted)

    def _highest_bytes(self) -> int:
        for line in (self._process / "status").read_bytes().splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class PortableHostMeter:
    """Resident memory through psutil, for macOS and others.

    The kernel keeps one peak for the life of the process: after `reset_peak` it is known only if it
    is passed again, and otherwise is the most that was seen when the meter was read.
    """

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process()
        self._seen_bytes = 0
        self._before_bytes = 0
        self.reset_peak()

    def current_bytes(self) -> int:
        """Resident bytes now."""
        current = int(self._process.memory_info().rss)
        self._seen_bytes = max(self._seen_bytes, current)
        return current

    def peak_bytes(self) -> int:
        """The most resident bytes since `reset_peak`, as far as they were seen."""
        current, highest = self.current_bytes(), self._highest_bytes()
        return max(highest, current) if highest > self._before_bytes else self._seen_bytes

    def reset_peak(self) -> None:
        """Start a new peak at what is in use now."""
        self._before_bytes = self._highest_bytes()
        self._seen_bytes = 0
        self.current_bytes()

    def available_bytes(self) -> int:
        """What the system says can be given without swapping."""
        return int(self._psutil.virtual_memory().available)

    @staticmethod
    def _highest_bytes() -> int:
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return highest if sys.platform == "darwin" else highest * 1024


class CudaMeter:
    """Memory of PyTorch's allocator on one GPU; what CUDA and other libraries take is not in it.

    Raises:
        RuntimeError: where torch finds no such GPU.
    """

    def __init__(self, device: int = 0) -> None:
        import torch

        # On a CPU the allocator's figures are 0 rather than an error: never let them pass for real.
        if not torch.cuda.is_available() or device >= torch.cuda.device_count():
            raise RuntimeError(f"torch finds no CUDA device {device}")
        self._cuda = torch.cuda
        self._device = device

    def current_bytes(self) -> int:
        """Bytes in tensors now."""
        return int(self._cuda.memory_allocated(self._device))

    def peak_bytes(self) -> int:
        """The most bytes in tensors since `reset_peak`."""
        return int(self._cuda.max_memory_allocated(self._device))

    def reset_peak(self) -> None:
        """Start a new peak at what is in use now."""
        self._cuda.reset_peak_memory_stats(self._device)

    def available_bytes(self) -> int:
        """What the GPU has free, and what the allocator holds without using it."""
        free, _total = self._cuda.mem_get_info(self._device)
        held = self._cuda.memory_reserved(self._device) - self.current_bytes()
        return int(free + held)

    def allocator(self) -> dict[str, int]:
        """What the allocator counts: bytes, peaks since `reset_peak`, events since it began."""
        stats = self._cuda.memory_stats(self._device)
        return {ours: int(stats[theirs]) for ours, theirs in _ALLOCATOR.items() if theirs in stats}


_ALLOCATOR = {
    "allocated_bytes": "allocated_bytes.all.current",
    "allocated_peak_bytes": "allocated_bytes.all.peak",
    "reserved_bytes": "reserved_bytes.all.current",
    "reserved_peak_bytes": "reserved_bytes.all.peak",
    "inactive_split_bytes": "inactive_split_bytes.all.current",
    "allocations": "allocation.all.allocated",
    "segments": "segment.all.allocated",
    "retries": "num_alloc_retries",
    "out_of_memory": "num_ooms",
}
"""Our names to those of `torch.cuda.memory_stats`."""

"""What is read of the worker and its children."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.telemetry.host.groups import Group
from harness.telemetry.host.tree import totals_of

__all__ = ["WorkerIo", "WorkerMemory", "WorkerUse", "WorkerWaits"]


class WorkerUse(Group):
    """The one file that says most about the worker."""

    device, tier = "worker", "fast"
    names = (
        ("cpu_s", "s", "counter"),
        ("resident_bytes", "bytes", "gauge"),
        ("minor_faults", "1", "counter"),
        ("major_faults", "1", "counter"),
        ("threads", "1", "gauge"),
    )

    def read(self) -> Sequence[float]:
        """Of the worker and its children."""
        return self.context.worker.totals()

    def take(self) -> Callable[[], Sequence[float]]:
        """Read now, make numbers of it later: this is what every tick pays for."""
        taken = self.context.worker.take()
        return lambda: totals_of(taken)


class WorkerIo(Group):
    """Bytes that went to and came from storage, not from the page cache."""

    device, tier = "worker", "slow"
    names = (("read_bytes", "bytes", "counter"), ("written_bytes", "bytes", "counter"))

    def read(self) -> Sequence[float]:
        """Of the worker and its children, after looking for new ones."""
        self.context.worker.find_children()
        return self.context.worker.io()


class WorkerWaits(Group):
    """How often its threads gave a core up, had one taken away, and waited for one."""

    device, tier = "worker", "boundary"
    names = (
        ("voluntary_switches", "1", "counter"),
        ("involuntary_switches", "1", "counter"),
        ("core_wait_s", "s", "counter"),
    )

    def read(self) -> Sequence[float]:
        """Of all threads, those that ended included."""
        return self.context.worker.waits()


class WorkerMemory(Group):
    """Exact memory: the kernel walks the page tables for it."""

    device, tier = "worker", "boundary"
    names = (
        ("exact_resident_bytes", "bytes", "gauge"),
        ("pss_bytes", "bytes", "gauge"),
        ("uss_bytes", "bytes", "gauge"),
    )

    def read(self) -> Sequence[float]:
        """Of the worker and its children."""
        return self.context.worker.memory()

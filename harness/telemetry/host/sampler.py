"""The sampler `host`: groups of quantities, opened once, read by tier."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.contracts import Availability, Quantity, Sampler, Watched
from harness.environment.facts import AbsentError
from harness.reading import Reading
from harness.telemetry.host.cores import (
    CoreClock,
    Cores,
    HarnessUse,
    Temperature,
    ThermalThrottling,
)
from harness.telemetry.host.groups import Context, Group
from harness.telemetry.host.machine import (
    CpuPressure,
    IoPressure,
    MachineMemory,
    MemoryPressure,
    Swap,
    Throttling,
)
from harness.telemetry.host.tree import GoneError, Tree
from harness.telemetry.host.worker import WorkerIo, WorkerMemory, WorkerUse, WorkerWaits

__all__ = ["HostSampler"]

_GROUPS: tuple[type[Group], ...] = (
    WorkerUse,
    CpuPressure,
    Throttling,
    WorkerIo,
    Cores,
    HarnessUse,
    CoreClock,
    Temperature,
    ThermalThrottling,
    Swap,
    MachineMemory,
    MemoryPressure,
    IoPressure,
    WorkerWaits,
    WorkerMemory,
)


class HostSampler(Sampler):
    """Reads what Linux shows of the worker, the cores and the machine."""

    summary = "CPU, memory, faults, I/O of the worker; load of others, clocks, pressure, quota"

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._groups: list[tuple[Group, list[tuple[str, str]]]] = []

    def availability(self) -> Availability:
        """It needs /proc as Linux has it."""
        if sys.platform != "linux":
            return Availability.no(f"reads /proc, which {sys.platform} does not have")
        return Availability.yes()

    def open(self, watched: Watched) -> Sequence[Quantity]:
        """Open every file once; what cannot be opened is absent with the reason."""
        self._context = Context(
            self._root, Tree(watched.worker_pid, self._root), Tree(watched.harness_pid, self._root)
        )
        found: list[Quantity] = []
        for kind in _GROUPS:
            try:
                groups = kind.of(self._context)
            except AbsentError as error:
                found += kind.absent(str(error))
                continue
            for group in groups:
                quantities = group.quantities()
                self._groups.append((group, [q.key for q in quantities]))
                found += quantities
        return found

    def follow(self, worker_pid: int | None) -> None:
        """Watch another worker."""
        self._context.worker.close()
        self._context.worker = Tree(worker_pid, self._root)

    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        """Read every file of the tier once; what cannot be read now is absent with the reason."""
        found: dict[tuple[str, str], Reading] = {}
        for group, keys in self._groups:
            if group.tier != tier:
                continue
            try:
                values = group.read()
                found |= {k: Reading(value=v) for k, v in zip(keys, values, strict=True)}
            except GoneError as error:
                found |= dict.fromkeys(keys, Reading.absent(str(error)))
            except (OSError, ValueError, LookupError) as error:
                reason = f"cannot be read: {getattr(error, 'strerror', None) or error}"
                found |= dict.fromkeys(keys, Reading.absent(reason))
        return found

    def close(self) -> None:
        """Close every file."""
        for group, _ in self._groups:
            group.close()
        self._groups.clear()
        with contextlib.suppress(AttributeError):  # never opened
            self._context.worker.close()
            self._context.harness.close()

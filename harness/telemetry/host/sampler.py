"""The sampler `host`: groups of quantities, opened once, read by tier."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
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


_UNREADABLE = (GoneError, OSError, ValueError, LookupError)
_Taken = tuple[list[tuple[str, str]], Callable[[], Sequence[float]] | str]
"""Keys, and what makes values for them or why there are none."""


def _why(error: Exception) -> str:
    if isinstance(error, GoneError):
        return str(error)
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"


class _Readings(Mapping[tuple[str, str], Reading]):
    """Readings whose numbers are made of what was read when somebody looks.

    A tick then costs the machine what the kernel takes, and not what Python does.
    """

    def __init__(self, taken: list[_Taken]) -> None:
        self._taken = taken

    @cached_property
    def _made(self) -> dict[tuple[str, str], Reading]:
        made: dict[tuple[str, str], Reading] = {}
        for keys, values in self._taken:
            try:
                if isinstance(values, str):
                    made |= dict.fromkeys(keys, Reading.absent(values))
                else:
                    made |= {k: Reading(value=v) for k, v in zip(keys, values(), strict=True)}
            except _UNREADABLE as error:
                made |= dict.fromkeys(keys, Reading.absent(_why(error)))
        return made

    def __getitem__(self, key: tuple[str, str]) -> Reading:
        return self._made[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class HostSampler(Sampler):
    """Reads what Linux shows of the worker, the cores and the machine."""

    summary = "CPU, memory, faults, I/O of the worker; load of others, clocks, pressure, quota"

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._groups: dict[str, list[tuple[Group, list[tuple[str, str]]]]] = {}

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
                self._groups.setdefault(group.tier, []).append((group, [q.key for q in quantities]))
                found += quantities
        return found

    def follow(self, worker_pid: int | None) -> None:
        """Watch another worker."""
        self._context.worker.close()
        self._context.worker = Tree(worker_pid, self._root)

    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        """Read every file of the tier once; what cannot be read now is absent with the reason."""
        taken: list[_Taken] = []
        for group, keys in self._groups.get(tier, ()):
            try:
                taken.append((keys, group.take()))
            except _UNREADABLE as error:
                taken.append((keys, _why(error)))
        return _Readings(taken)

    def close(self) -> None:
        """Close every file."""
        for group, _ in chain.from_iterable(self._groups.values()):
            group.close()
        self._groups.clear()
        with contextlib.suppress(AttributeError):  # never opened
            self._context.worker.close()
            self._context.harness.close()

"""A worker and its children: CPU time, memory, faults, switches and I/O of all of them together.

It must not know who else runs on the machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.environment.facts import AbsentError
from harness.telemetry.host.files import KernelFile, keyed_numbers, process_stat

__all__ = ["GoneError", "Tree", "totals_of"]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class GoneError(Exception):
    """There is no worker, or it has ended; the message says which."""


@dataclass
class _Waits:
    """Per thread: what was last seen, so that a thread which ends does not take its counts along.

    Voluntary and involuntary context switches, nanoseconds ready but without a core.
    """

    seen: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    ended: tuple[int, int, int] = (0, 0, 0)

    def update(self, now: dict[int, tuple[int, int, int]]) -> tuple[int, int, int]:
        for thread in self.seen.keys() - now.keys():
            self.ended = _sum(self.ended, self.seen[thread])
        self.seen = now
        total = self.ended
        for counts in now.values():
            total = _sum(total, counts)
        return total


def _sum(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def totals_of(taken: Sequence[bytes]) -> tuple[float, float, float, float, float]:
    """Return CPU seconds, resident bytes, minor faults, major faults and threads together."""
    stats = [process_stat(each) for each in taken]
    return (
        sum(s.own_ticks + s.waited_ticks for s in stats) / _TICKS_PER_S,
        sum(s.resident_pages for s in stats) * _PAGE_BYTES,
        sum(s.minor_faults for s in stats),
        sum(s.major_faults for s in stats),
        sum(s.threads for s in stats),
    )


class Tree:
    """The process `pid` and those below it. Children are looked for when `find_children` is called.

    Attributes:
        pid: The worker; None while there is none.
    """

    def __init__(self, pid: int | None, root: Path = Path("/")) -> None:
        self.pid = pid
        self._proc = root / "proc"
        self._stats: dict[int, KernelFile] = {}
        self._waits = _Waits()
        self._why_gone = "no worker runs"
        if pid is not None:
            try:
                self._stats[pid] = KernelFile(self._proc / f"{pid}/stat", 512)
            except AbsentError:
                self._why_gone = "the worker has ended"

    def close(self) -> None:
        """Close all files."""
        for file in self._stats.values():
            file.close()
        self._stats.clear()

    def cpu_s(self) -> float:
        """CPU seconds of all, ended children that were waited for included; GoneError likewise."""
        return self.totals()[0]

    def own_cpu_s(self) -> float:
        """CPU seconds of the process itself, without any child's; GoneError where it has ended."""
        file = self._stats.get(self.pid or 0)
        if file is None:
            raise GoneError(self._why_gone)
        return process_stat(file.read()).own_ticks / _TICKS_PER_S

    def take(self) -> list[bytes]:
        """Return /proc/PID/stat of all, the worker's first.

        Raises:
            GoneError: where the worker is not there.
        """
        taken = []
        for pid in list(self._stats):
            try:
                taken.append(self._stats[pid].read())
            except OSError:
                self._lose(pid)
        if self.pid not in self._stats:
            raise GoneError(self._why_gone)
        return taken

    def totals(self) -> tuple[float, float, float, float, float]:
        """Return what `totals_of` makes of them now; GoneError likewise."""
        return totals_of(self.take())

    def _lose(self, pid: int) -> None:
        self._stats.pop(pid).close()
        if pid == self.pid:
            self._why_gone = "the worker has ended"

    def find_children(self) -> None:
        """Look for processes that the worker and its children have started since."""
        if self.pid is None:
            return
        for pid in list(self._below(self.pid)):
            if pid not in self._stats:
                with contextlib.suppress(AbsentError):
                    self._stats[pid] = KernelFile(self._proc / f"{pid}/stat", 512)

    def _below(self, pid: int) -> Iterator[int]:
        for thread in self._threads(pid):
            try:
                children = (self._proc / f"{pid}/task/{thread}/children").read_bytes().split()
            except OSError:
                continue  # the thread has ended, or the kernel does not list children
            for child in map(int, children):
                yield child
                yield from self._below(child)

    def _threads(self, pid: int) -> list[int]:
        try:
            return [int(task.name) for task in (self._proc / f"{pid}/task").iterdir()]
        except OSError:
            return []

    def waits(self) -> tuple[float, float, float]:
        """Return voluntary switches, involuntary ones, and seconds ready without a core.

        Counted thread by thread: /proc/PID/status has those of the first thread only.

        Raises:
            GoneError: where the worker is not there.
        """
        if self.pid not in self._stats:
            raise GoneError(self._why_gone)
        now = {}
        for pid in self._stats:
            for thread in self._threads(pid):
                task = self._proc / f"{pid}/task/{thread}"
                with contextlib.suppress(OSError, IndexError):
                    counts = keyed_numbers((task / "status").read_bytes())
                    waited_ns = int((task / "schedstat").read_bytes().split()[1])
                    now[thread] = (
                        counts.get(b"voluntary_ctxt_switches", 0),
                        counts.get(b"nonvoluntary_ctxt_switches", 0),
                        waited_ns,
                    )
        voluntary, involuntary, waited_ns = self._waits.update(now)
        return voluntary, involuntary, waited_ns / 1e9

    def io(self) -> tuple[float, float]:
        """Return bytes read from and written to storage.

        Raises:
            GoneError: where the worker is not there.
            OSError: where the kernel does not let us see.
        """
        read = written = 0
        for numbers in self._each("io"):
            read += numbers[b"read_bytes"]
            written += numbers[b"write_bytes"]
        return read, written

    def memory(self) -> tuple[float, float, float]:
        """Return exact resident bytes, the proportional share (PSS) and what is its own (USS).

        The kernel walks every page for it, milliseconds for a large process.

        Raises:
            GoneError: where the worker is not there.
            OSError: where the kernel does not let us see.
        """
        resident = proportional = unique = 0
        for numbers in self._each("smaps_rollup"):
            resident += numbers[b"Rss"]
            proportional += numbers[b"Pss"]
            unique += numbers[b"Private_Clean"] + numbers[b"Private_Dirty"]
        return resident * 1024, proportional * 1024, unique * 1024

    def _each(self, name: str) -> Iterator[dict[bytes, int]]:
        """Yield a file of each process; a child may have ended, the worker must be there."""
        if self.pid is None or self.pid not in self._stats:
            raise GoneError(self._why_gone)
        for pid in list(self._stats):
            try:
                yield keyed_numbers((self._proc / f"{pid}/{name}").read_bytes())
            except (FileNotFoundError, ProcessLookupError):
                if pid == self.pid:
                    self._why_gone = "the worker has ended"
                    raise GoneError(self._why_gone) from None

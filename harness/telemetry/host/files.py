"""Small kernel files, opened once and read again from the start, and what is written in them.

It must not know what the figures are for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.environment.facts import AbsentError

__all__ = [
    "KernelFile",
    "ProcessStat",
    "busy_ticks",
    "first_number",
    "keyed_numbers",
    "pressure_us",
    "process_stat",
]


class KernelFile:
    """A file that is read many times: one `pread` each, no path is walked again.

    Raises:
        AbsentError: where it is not there or may not be read.
    """

    def __init__(self, path: Path, size: int = 4096) -> None:
        self._size = size
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise AbsentError(f"{path}: {(error.strerror or 'cannot be opened').lower()}") from None

    def read(self) -> bytes:
        """Return what is in it now; OSError where what it describes is gone."""
        return os.pread(self._descriptor, self._size, 0)

    def close(self) -> None:
        """Close it. Calling it twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """What /proc/PID/stat says: times in clock ticks, memory in pages."""

    own_ticks: int
    """User and system time of its threads, those that ended included."""
    waited_ticks: int
    """The same of children that it has waited for, and theirs."""
    minor_faults: int
    major_faults: int
    threads: int
    resident_pages: int


def process_stat(text: bytes) -> ProcessStat:
    """Read /proc/PID/stat (proc_pid_stat(5)).

    Raises:
        ValueError: where it is not one.
    """
    # The command in brackets may hold blanks and brackets: count fields from its end.
    fields = text[text.rindex(b")") + 2 :].split(None, 22)
    if len(fields) < 22:
        raise ValueError("has too few fields")
    return ProcessStat(
        own_ticks=int(fields[11]) + int(fields[12]),
        waited_ticks=int(fields[13]) + int(fields[14]),
        minor_faults=int(fields[7]),
        major_faults=int(fields[9]),
        threads=int(fields[17]),
        resident_pages=int(fields[21]),
    )


def busy_ticks(text: bytes) -> dict[str, tuple[int, int]]:
    """Read /proc/stat: `cpu`, `cpu0`, … to ticks in which it was busy, and ticks stolen from it."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(b" ")
        if not name.startswith(b"cpu"):
            break  # the cores come first; behind them a line of interrupts as long as the machine
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, rest.split()[:8])
        # Guest time is in user already.
        found[name.decode()] = (user + nice + system + irq + softirq, steal)
    if not found:
        raise ValueError("has no line for the cores")
    return found


def pressure_us(text: bytes) -> int:
    """Read a pressure file: microseconds in which some task waited."""
    some = text.partition(b"\n")[0]
    if not some.startswith(b"some "):
        raise ValueError("has no line for some tasks")
    return int(some[some.rindex(b"total=") + 6 :])


def keyed_numbers(text: bytes) -> dict[bytes, int]:
    """Read lines of `name number` or `name: number kB`; a unit is left out."""
    found = {}
    for line in text.splitlines():
        fields = line.split(None, 2)
        if len(fields) > 1 and fields[1].lstrip(b"-").isdigit():
            found[fields[0].rstrip(b":")] = int(fields[1])
    return found


def first_number(text: bytes) -> int:
    """Read a file that holds one number."""
    return int(text.split(None, 1)[0])

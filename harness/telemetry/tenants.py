"""Who is on a GPU: the worker and its children, and everybody else, from the driver's list.

Asking costs milliseconds, so it is done where phases begin and end, never in between. In a
container the driver's process ids are those of the host: then nobody can be told apart, and this
says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

__all__ = ["TENANT_UNITS", "Tenant", "family", "living", "tenants"]

TENANT_UNITS = {
    "worker_memory_bytes": "bytes",
    "other_processes": "processes",
    "other_processes_memory_bytes": "bytes",
}


@dataclass(frozen=True)
class Tenant:
    """A process on a GPU as the driver lists it."""

    pid: int
    memory_bytes: int | None
    """None where the driver does not say."""


def family(pids: Sequence[int]) -> set[int]:
    """Return these processes and all their descendants that live."""
    found: set[int] = set()
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found |= {pid, *(child.pid for child in process.children(recursive=True))}
        except psutil.Error:
            continue
    return found


def living(pids: Sequence[int]) -> set[int]:
    """Return those that exist as processes in this PID namespace."""
    return {pid for pid in pids if psutil.pid_exists(pid)}


def tenants(listed: Sequence[Tenant], ours: set[int], known: set[int]) -> Mapping[str, float | str]:
    """Return each quantity of `TENANT_UNITS`, or why it is absent.

    Args:
        listed: What the driver lists.
        ours: The worker and its children.
        known: Those of the listed ids that exist in this PID namespace.
    """
    own = [t for t in listed if t.pid in ours]
    others = [t for t in listed if t.pid not in ours]
    strangers = [t for t in others if t.pid not in known]
    if strangers and not own:
        reason = (
            f"the driver lists {len(strangers)} process ids that do not exist here: "
            "in a container they are the host's, and nobody can be told apart"
        )
        return dict.fromkeys(TENANT_UNITS, reason)
    return {
        "worker_memory_bytes": _sum(own),
        "other_processes": float(len(others)),
        "other_processes_memory_bytes": _sum(others),
    }


def _sum(found: Sequence[Tenant]) -> float | str:
    """Add up; one process whose memory is unknown makes the sum unknown."""
    sizes = [t.memory_bytes for t in found if t.memory_bytes is not None]
    if len(sizes) < len(found):
        return "the driver does not say how much memory a process holds"
    return float(sum(sizes))

"""What the kernel counts of this process anyway, per token: faults, switches, time."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.contracts import Observation

__all__ = ["counted", "tokens_of"]

_READ: dict[str, Callable[[resource.struct_rusage], float]] = {
    "minor_faults": lambda r: r.ru_minflt,
    "major_faults": lambda r: r.ru_majflt,
    "voluntary_switches": lambda r: r.ru_nvcsw,
    "involuntary_switches": lambda r: r.ru_nivcsw,
    "user_ms": lambda r: r.ru_utime * 1e3,
    "system_ms": lambda r: r.ru_stime * 1e3,
}


def counted(iterate: Callable[[], Observation]) -> dict[str, float]:
    """Return what is counted over one iteration, per token; empty where it made no token."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    observation = iterate()
    after = resource.getrusage(resource.RUSAGE_SELF)
    tokens = tokens_of(observation)
    return {name: (of(after) - of(before)) / tokens for name, of in _READ.items() if tokens}


def tokens_of(observation: Observation) -> int:
    """Return how many tokens an iteration made."""
    return sum(len(t.token_ids) for t in observation.transcripts)

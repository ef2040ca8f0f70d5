"""Where the time goes, in words: a line a phase, the same in the terminal and on a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from harness.profiling.record import PhaseProfile, Profile, Row
from harness.shown import number, quantity, share

__all__ = [
    "Family",
    "counted_words",
    "families_of",
    "phase_line",
    "place_words",
    "profile_line",
    "slowdown_words",
]

_NAMED = 3
_LEAST = 0.02
"""Of a call: less is not named."""


@dataclass(frozen=True)
class Family:
    """Operators of one kind in one phase."""

    name: str
    ns: float
    """Per call of the phase."""
    rows: tuple[Row, ...]
    roofline: float | None
    """How much of its time the machine needs at least; None where little of it has a bound."""


def families_of(phase: PhaseProfile, ceilings: Mapping[str, float]) -> list[Family]:
    """Return the families of a phase, the longest first."""
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in phase.rows:
        grouped[row.family].append(row)
    found = []
    for name, rows in grouped.items():
        ns = sum(row.ns for row in rows)
        bounds = [(row.ns, row.bound_ns(ceilings)) for row in rows]
        known = sum(took for took, bound in bounds if bound is not None)
        least = sum(bound for _, bound in bounds if bound is not None)
        roofline = least / known if known > 0.5 * ns else None
        found.append(Family(name, ns, tuple(rows), roofline))
    return sorted(found, key=lambda family: -family.ns)


def phase_line(phase: PhaseProfile, ceilings: Mapping[str, float]) -> str:
    """Return `decode 27.4 ms: gemm 88 % (91 % of its roofline), host 5.1 %, attention 3.2 %`."""
    parts = []
    for family in families_of(phase, ceilings)[:_NAMED]:
        of = family.ns / phase.profiled_ns if phase.profiled_ns else 0.0
        if of >= _LEAST:
            near = f" ({share(family.roofline)} of its roofline)" if family.roofline else ""
            parts.append(f"{family.name} {share(of)}{near}")
    return f"{phase.phase} {quantity(phase.plain_ns / 1e6, 'ms')}: {', '.join(parts)}"


def profile_line(profile: Profile) -> str:
    """Return where a case's time goes in one line, decode first, or why that is not known."""
    if profile.failure is not None:
        return f"not profiled: failed in {profile.failure.phase}: {profile.failure.reason}"
    phases = sorted(profile.phases, key=lambda phase: phase.phase != "decode")
    if not phases:
        return "; ".join(profile.notes) or "nothing was seen"
    return "; ".join(phase_line(phase, profile.ceilings) for phase in phases)


def place_words(function: str, line: int | None) -> str:
    """Return `harness/model/decoder.py:41 (step)`; a node of an engine's graph as it is."""
    file, colon, name = function.rpartition(":")
    if not colon:
        return function
    return f"{file}:{line} ({name})" if line else f"{file} ({name})"


def counted_words(profile: Profile) -> str:
    """Return what was counted per token: `minor faults 3.5, cycles 2,000, 1.2 instructions …`."""
    counters = {n: v for n, v in profile.counters.items() if v and not n.startswith("py_spy")}
    words = [f"{name.replace('_', ' ')} {number(value)}" for name, value in counters.items()]
    if counters.get("cycles") and counters.get("instructions"):
        words.append(f"{counters['instructions'] / counters['cycles']:.2f} instructions a cycle")
    return ", ".join(words)


def slowdown_words(profile: Profile) -> str:
    """Return how much slower profilers made what they saw."""
    parts = [f"{phase.phase} {phase.slowdown:.2f}×" for phase in profile.phases]
    words = [f"torch.profiler {', '.join(parts)}"] if parts else []
    sampled = profile.counters.get("py_spy_slowdown")
    words += [f"py-spy {sampled:.2f}×"] if sampled is not None else []
    return "; ".join(words)

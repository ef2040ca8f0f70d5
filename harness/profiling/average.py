"""Profiles of several processes of one case as one: the mean of each row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from harness.profiling.record import PhaseProfile, Profile, Row

__all__ = ["averaged"]


def averaged(profiles: Sequence[Profile]) -> Profile:
    """Return the mean of at least one profile: rows still add up to their call.

    A row that a process lacks took no time there. What only one of them looked at (the compiler,
    memory) is taken from that one.
    """
    if len(profiles) == 1:
        return profiles[0]
    phases = list(dict.fromkeys(phase.phase for p in profiles for phase in p.phases))
    counters: dict[str, list[float]] = defaultdict(list)
    ceilings: dict[str, list[float]] = defaultdict(list)
    for profile in profiles:
        for name, value in profile.counters.items():
            counters[name].append(value)
        for name, value in profile.ceilings.items():
            ceilings[name].append(value)
    first, last = profiles[0], profiles[-1]
    failed = all(profile.failure for profile in profiles)
    iterations = [p.iteration_ns for p in profiles if p.iteration_ns is not None]
    return Profile(
        case=first.case,
        round=last.round,
        phases=[
            _mean([found for p in profiles if (found := p.phase(name)) is not None])
            for name in phases
        ],
        counters={name: fmean(values) for name, values in counters.items()},
        ceilings={name: max(values) for name, values in ceilings.items()},
        facts=first.facts,
        compiled=next((p.compiled for p in profiles if p.compiled), None),
        memory=next((p.memory for p in profiles if p.memory), None),
        iteration_ns=fmean(iterations) if iterations else None,
        files={name: file for p in profiles for name, file in p.files.items()},
        notes=list(dict.fromkeys([*(n for p in profiles for n in p.notes), *_failures(profiles)])),
        failure=first.failure if failed else None,
    )


def _failures(profiles: Sequence[Profile]) -> list[str]:
    """Say what went wrong in some of the processes; where in all, the failure says it."""
    some = [p.failure for p in profiles if p.failure]
    if len(some) == len(profiles):
        return []
    return [f"one process failed in {failure.phase}: {failure.reason}" for failure in some]


def _mean(phases: Sequence[PhaseProfile]) -> PhaseProfile:
    n = len(phases)
    grouped: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for phase in phases:
        for row in phase.rows:
            grouped[row.operator, row.function].append(row)
    rows = [
        rows[-1].model_copy(
            update={"ns": sum(r.ns for r in rows) / n, "calls": sum(r.calls for r in rows) / n}
        )
        for rows in grouped.values()
    ]
    times = [p.per_iteration for p in phases if p.per_iteration is not None]
    return PhaseProfile(
        phase=phases[0].phase,
        plain_ns=fmean(p.plain_ns for p in phases),
        profiled_ns=fmean(p.profiled_ns for p in phases),
        rows=sorted(rows, key=lambda row: -row.ns),
        per_iteration=fmean(times) if times else None,
    )

"""A profile on the terminal: phases, families, rows; what the compiler did; what was allocated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console

from harness.profiling.record import Compiled, Memory, PhaseProfile, Profile, Row
from harness.profiling.words import counted_words, families_of, profile_line
from harness.shown import printable, quantity

__all__ = ["show_profile"]

_ROWS = 8
_LARGEST = 6


def show_profile(console: Console, profile: Profile) -> None:
    """Print all that was seen of a case."""
    if profile.failure is not None:
        console.print(f"  {profile_line(profile)}", markup=False)
        return
    lines = [line for phase in profile.phases for line in _phase(phase, profile.ceilings)]
    lines += list(_counted(profile))
    lines += list(_compiled(profile.compiled)) if profile.compiled else []
    lines += list(_memory(profile.memory)) if profile.memory else []
    lines += [f"  ! {note}" for note in profile.notes]
    for line in lines:
        console.print(printable(line, 600), markup=False, soft_wrap=True)


def _phase(phase: PhaseProfile, ceilings: Mapping[str, float]) -> Iterator[str]:
    whole = phase.profiled_ns
    yield (
        f"  {phase.phase}: {quantity(phase.plain_ns / 1e6, 'ms')} a call; "
        f"{phase.slowdown:.2f}× slower while profiled"
    )
    shares = [f"{f.name} {f.ns / whole:.0%}" for f in families_of(phase, ceilings)]
    yield f"    {', '.join(shares)}"
    for row in phase.rows[:_ROWS]:
        file, _, function = row.function.rpartition(":")
        place = f"{file}:{row.line}" if row.line else file
        yield (
            f"    {row.ns / whole:5.1%} {row.operator:32.32s} ×{row.calls:<6g} {place} {function}"
            f"{_roofline(row, ceilings)}"
        )


def _roofline(row: Row, ceilings: Mapping[str, float]) -> str:
    """Return a row's bandwidth, and how near it is to what the machine could do."""
    bound = row.bound_ns(ceilings)
    if not bound or row.bytes is None:
        return ""
    return f"  {row.bytes / row.ns:.1f} GB/s, {bound / row.ns:.0%} of its roofline"


def _counted(profile: Profile) -> Iterator[str]:
    sampled = profile.counters.get("py_spy_slowdown")
    if sampled is not None:
        yield f"  py-spy: {sampled:.2f}× slower while sampled"
    if words := counted_words(profile):
        yield f"  per token: {words}"


def _compiled(found: Compiled) -> Iterator[str]:
    if not found.graphs:
        return
    kernels = "" if found.kernels is None else f", {found.kernels} kernels"
    fused = "" if found.fused is None else f", {found.fused} nodes fused away"
    yield (
        f"  compile: {found.graphs} graphs{kernels}{fused}; cache: {found.cache_hits} hits, "
        f"{found.cache_misses} misses"
    )
    times = ", ".join(f"{name} {quantity(s, 's')}" for name, s in found.seconds.items())
    yield f"    {times}"
    yield from (f"    graph break: {place}" for place in found.graph_breaks)
    yield from (f"    recompiled: {reason}" for reason in found.recompiles)
    if found.code:
        yield f"    generated code kept: {len(found.code)} files"


def _memory(memory: Memory) -> Iterator[str]:
    for held in memory.phases:
        yield (
            f"  {held.phase}: tensors {quantity(held.tensor_bytes, 'bytes')}, at most "
            f"{quantity(held.tensor_peak_bytes, 'bytes')}; Python at most "
            f"{quantity(held.python_peak_bytes, 'bytes')}; {held.allocations} allocations"
        )
    for alive in memory.largest[:_LARGEST]:
        shape = f"{alive.dtype}{alive.shape}"
        yield (
            f"    {quantity(alive.bytes, 'bytes'):>9s} {shape} made in {alive.phase} by "
            f"{alive.place or 'no code of yours'}"
        )

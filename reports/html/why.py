"""Where the time goes, for a page: phases, families and operators of each profiled case.

All of it works without a script: pictures are SVG, files to download are inline. What comes from
profiles (names of functions, notes) is escaped where it is drawn or by the template.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from harness.profiling.flame import Look, flame_graph
from harness.profiling.record import Memory, PhaseProfile, Profile, Row
from harness.profiling.stacks import Node, Stack, speedscope
from harness.profiling.stored import Seen, profiles_of
from harness.profiling.words import (
    counted_words,
    phase_line,
    place_words,
    profile_line,
    slowdown_words,
)
from harness.shown import number, printable, quantity, share
from reports.html.allocations import allocations

if TYPE_CHECKING:
    from harness.store import Run

__all__ = ["Picture", "Why", "why"]

_WIDE, _SLIM = 752.0, 350.0
_ROWS = 12
"""Of a table; what is shorter is one row more."""
_LARGEST_SPEEDSCOPE = 400_000
"""Bytes; a page stays well under a megabyte a case."""
_HUE = {
    "gemm": "--c0", "attention": "--c1", "norm": "--c2", "copy": "--c3", "elementwise": "--c4",
    "cache": "--c5", "fused": "--c6", "sync": "--bad",
}  # fmt: skip
"""Of families; of the others it is grey."""


@dataclass(frozen=True)
class Picture:
    """One picture at two widths."""

    wide: str
    slim: str


@dataclass(frozen=True)
class Operators:
    """The table of one phase."""

    phase: str
    per: str
    """`token`, or `prompt`."""
    rows: list[dict[str, str]]


@dataclass(frozen=True)
class Why:
    """All that a page says of one profiled case."""

    case: str
    finding: list[str]
    slowdown: str
    icicle: Picture | None
    tables: list[Operators]
    flame: Picture | None
    samples: int
    speedscope: str
    """A data address; empty where nothing was sampled or it is too large."""
    counters: str
    compiled: list[tuple[str, str]]
    memory: list[dict[str, str]]
    allocations: Picture | None
    largest: list[dict[str, str]]
    notes: list[str]


def why(runs: Sequence[Run]) -> list[tuple[Run, list[Why]]]:
    """Return what profiles of each run say; runs without profiles are left out."""
    numbers = count(1)
    found = [(run, [_case(seen, f"a{next(numbers)}") for seen in profiles_of(run)]) for run in runs]
    return [(run, cases) for run, cases in found if cases]


def _case(seen: Seen, prefix: str) -> Why:
    profile = seen.profile
    phases = sorted(profile.phases, key=lambda phase: phase.phase != "decode")
    said = [phase_line(phase, profile.ceilings) for phase in phases] or [profile_line(profile)]
    return Why(
        case=seen.case,
        finding=said,
        slowdown=slowdown_words(profile),
        icicle=_icicle(profile),
        tables=[_operators(phase, profile) for phase in phases],
        flame=_flame(seen),
        samples=sum(seen.stacks.values()),
        speedscope=_speedscope(seen),
        counters=counted_words(profile),
        compiled=_compiled(profile),
        memory=_memory(profile.memory),
        allocations=_allocations(profile.memory, prefix),
        largest=_largest(profile.memory),
        notes=profile.notes if phases else [],
    )


def _icicle(profile: Profile) -> Picture | None:
    """Draw one iteration: its phases, their families, and operators by who called them."""
    stacks: dict[Stack, int] = {}
    for phase in profile.phases:
        times = 1.0 if phase.per_iteration is None else phase.per_iteration
        # As long as without a profiler, shared out as the profiler saw it.
        scale = times * phase.plain_ns / phase.profiled_ns if phase.profiled_ns else 0.0
        for row in phase.rows:
            place = _place(row)
            stack = (phase.phase, row.family, row.operator, *([place] if place else []))
            stacks[stack] = stacks.get(stack, 0) + round(row.ns * scale)
    whole = sum(stacks.values())
    if not whole:
        return None

    def words(_stack: Stack, node: Node, _whole: int) -> str:
        return f"{quantity(node.samples / 1e6, 'ms')}, {share(node.samples / whole)}"

    def colour(stack: Stack) -> tuple[str, float]:
        if len(stack) < 2:
            return "var(--rule)", 1.0
        hue = _HUE.get(stack[1], "--soft")
        return f"var({hue})", (0.42, 0.3, 0.18)[min(len(stack) - 2, 2)]

    title = f"one iteration of {profile.case}, {quantity(whole / 1e6, 'ms')}"
    look = Look(colour=colour, words=words, ink="var(--ink)", by_size=True, titled=False)
    return _both(stacks, title, look, f"one iteration, {quantity(whole / 1e6, 'ms')}")


def _flame(seen: Seen) -> Picture | None:
    if not seen.stacks:
        return None
    look = Look(titled=False)
    return _both(seen.stacks, f"sampled stacks of {seen.case}", look, "all samples")


def _both(stacks: Any, title: str, look: Look, root: str) -> Picture:
    wide, slim = (
        flame_graph(stacks, title, replace(look, width=width, root=root))
        for width in (_WIDE, _SLIM)
    )
    return Picture(wide, slim)


def _speedscope(seen: Seen) -> str:
    text = speedscope(seen.stacks, seen.case) if seen.stacks else ""
    if not text or len(text) > _LARGEST_SPEEDSCOPE:
        return ""
    return f"data:application/json;base64,{base64.b64encode(text.encode()).decode()}"


def _operators(phase: PhaseProfile, profile: Profile) -> Operators:
    """Return the longest rows of a phase, and the others as one."""
    whole = phase.profiled_ns or 1.0
    rows = [_row(row, whole, profile.ceilings) for row in phase.rows[:_ROWS]]
    rest = phase.rows[_ROWS:]
    if rest:
        ns = sum(row.ns for row in rest)
        rows.append(
            dict.fromkeys(rows[0], "")
            | {"operator": f"{len(rest)} shorter rows", "time": _us(ns), "share": share(ns / whole)}
        )
    per = {"decode": "token", "prefill": "prompt"}[phase.phase]
    return Operators(phase.phase, per, rows)


def _row(row: Row, whole: float, ceilings: dict[str, float]) -> dict[str, str]:
    bound = row.bound_ns(ceilings)
    read, rate = ceilings.get("read_bytes_per_s"), ceilings.get("gemm_flop_per_s")
    known = bound is not None and row.ns > 0
    moved = row.bytes / row.ns * 1e9 if row.bytes and known else None
    made = row.flops / row.ns * 1e9 if row.flops and known else None
    return {
        "operator": row.operator,
        "place": _place(row),
        "file": row.function.rpartition(":")[0],
        "family": row.family,
        "hue": _HUE.get(row.family, "--soft"),
        "calls": number(row.calls),
        "time": _us(row.ns),
        "share": share(row.ns / whole),
        "moved": _of(moved, "bytes/s", read),
        "made": _of(made, "FLOP/s", rate),
        "roofline": share(bound / row.ns) if bound is not None and row.ns > 0 else "",
    }


def _place(row: Row) -> str:
    """Return `decoder.py:442 (_look_back)`: the file without its folders."""
    _, slash, name = row.function.rpartition("/")
    return place_words(name if slash and ":" in name else row.function, row.line)


def _us(ns: float) -> str:
    return quantity(ns / 1e6, "ms")


def _of(value: float | None, unit: str, ceiling: float | None) -> str:
    if value is None:
        return ""
    near = f" ({share(value / ceiling)})" if ceiling else ""
    return f"{quantity(value, unit)}{near}"


def _compiled(profile: Profile) -> list[tuple[str, str]]:
    found = profile.compiled
    if found is None or not found.graphs:
        return []
    rows = [
        ("graphs", str(found.graphs)),
        ("graph breaks", "; ".join(found.graph_breaks) or "none"),
        ("recompiles", "; ".join(found.recompiles) or "none"),
        ("kernels generated", "–" if found.kernels is None else str(found.kernels)),
        ("nodes fused away", "–" if found.fused is None else str(found.fused)),
        ("cache", f"{found.cache_hits} hits, {found.cache_misses} misses"),
    ]
    return rows + [(f"time: {name}", quantity(s, "s")) for name, s in found.seconds.items()]


def _memory(memory: Memory | None) -> list[dict[str, str]]:
    return [
        {
            "phase": held.phase,
            "tensors": quantity(held.tensor_bytes, "bytes"),
            "peak": quantity(held.tensor_peak_bytes, "bytes"),
            "python": quantity(held.python_peak_bytes, "bytes"),
            "allocations": number(held.allocations),
        }
        for held in (memory.phases if memory else ())
    ]


def _allocations(memory: Memory | None, prefix: str) -> Picture | None:
    if memory is None or memory.timeline is None:
        return None
    wide, slim = (
        allocations(memory.timeline, f"{prefix}{'-slim' * slim}", slim=slim)
        for slim in (False, True)
    )
    return Picture(wide, slim)


def _largest(memory: Memory | None) -> list[dict[str, str]]:
    return [
        {
            "bytes": quantity(alive.bytes, "bytes"),
            "shape": f"{alive.dtype}[{', '.join(map(str, alive.shape))}]",
            "place": printable(alive.place),
            "phase": alive.phase,
        }
        for alive in (memory.largest if memory else ())
    ]

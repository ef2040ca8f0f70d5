"""The profilers that `--with` takes: what each looks at, and which it shares a process with.

A table. What slows a process down a lot, or needs to be there when a backend is loaded, gets a
process of its own, so that it does not disturb what the others see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from harness.errors import InputError, did_you_mean
from harness.spec import ProfilerName

__all__ = ["ALONE", "KINDS", "USUAL", "apart", "parse_kinds", "processes"]

KINDS: dict[ProfilerName, str] = {
    "torch": "operators by function, with bytes and FLOPs",
    "roofline": "ceilings, measured in the same process",
    "py-spy": "sampled Python stacks",
    "native": "sampled stacks with C and C++ frames",
    "trace": "a Chrome trace of each phase",
    "counters": "instructions, cycles, cache and branch misses per token",
    "onnx": "onnxruntime's own profile",
    "compile": "graph breaks, recompiles, kernels and time of torch.compile",
    "code": "the code that torch.compile generated, kept",
    "memory": "allocations by phase, and what lives at the peak",
    "nsys": "a report of Nsight Systems, with NVTX ranges by phase and layer",
}
USUAL: tuple[ProfilerName, ...] = ("torch", "roofline", "py-spy")
ALONE: tuple[tuple[ProfilerName, ...], ...] = (
    ("compile", "code"),
    ("memory",),
    ("nsys",),
)
"""Each group in a process of its own."""

assert set(KINDS) == set(get_args(ProfilerName))


def parse_kinds(text: str) -> list[ProfilerName]:
    """Return the names in a list by commas.

    Raises:
        InputError: where one is unknown, or there is none.
    """
    named = [name.strip() for name in text.split(",") if name.strip()]
    for name in named or [text]:
        if name not in KINDS:
            raise InputError(
                f"{name!r} is no profiler",
                expected=f"one of {', '.join(KINDS)}",
                remedy=did_you_mean(name, list(KINDS)).rstrip() or None,
            )
    return [kind for kind in KINDS if kind in named]


def processes(kinds: Iterable[ProfilerName]) -> list[list[ProfilerName]]:
    """Return what each process of a round looks at; those that share one first."""
    asked = list(dict.fromkeys(kinds))
    if "code" in asked and "compile" not in asked:  # nothing else generates any
        asked.append("compile")
    alone = {kind for group in ALONE for kind in group}
    groups = [[kind for kind in asked if kind not in alone]]
    groups += [[kind for kind in asked if kind in group] for group in ALONE]
    return [group for group in groups if group]


def apart(group: Sequence[ProfilerName]) -> str:
    """Return what tells the files of a process from those of the others of its case."""
    return next((alone[0] for alone in ALONE if set(group) <= set(alone)), "")

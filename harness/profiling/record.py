"""What a profile holds. A row is one operator called from one function; rows add up to the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Phase", "PhaseProfile", "Profile", "Row"]

Phase = Literal["prefill", "decode"]
_WHOLE = ("gemm", "attention", "norm", "elementwise")
"""Families whose operators read all of their tensors."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Row(_Record):
    """One operator as one function calls it, or the host's time before such operators."""

    operator: str
    """`aten::linear`, the name of a compiled kernel, or `(host)` for the time before operators."""
    function: str
    """Who called it, `harness/model/decoder.py:step`; empty where that cannot be seen."""
    line: int | None = None
    """Line of the call, where it was found."""
    family: str
    calls: float
    """Per call of the phase: per token for decode, per prompt for prefill."""
    ns: float
    """Nanoseconds per call of the phase, what it called in turn included."""
    dtypes: str = ""
    """Precisions of its tensors, `float32`, or `bfloat16,float32` where they differ."""
    bytes: float | None = None
    """Bytes of the tensors it takes and returns, per call of the phase."""
    flops: float | None = None
    """Multiply-adds × 2 of a matrix product, per call of the phase."""

    def bound_ns(self, ceilings: Mapping[str, float]) -> float | None:
        """Return the time that the machine needs at least: bytes at full bandwidth, or FLOPs.

        None where the bytes are not what is read: a table's look-up touches a row of it. What
        caches hold comes faster than memory gives, so a row may take less than this.
        """
        if self.bytes is None or self.family not in _WHOLE or "read_bytes_per_s" not in ceilings:
            return None
        reading = self.bytes / ceilings["read_bytes_per_s"]
        rate = ceilings.get("gemm_flop_per_s")
        return 1e9 * max(reading, (self.flops or 0.0) / rate if rate else 0.0)


class PhaseProfile(_Record):
    """One phase of one process."""

    phase: Phase
    plain_ns: float
    """Median of the quieter half of calls without any profiler, in the same process."""
    profiled_ns: float
    """Mean of the quieter half of calls under the profiler: the rows add up to it."""
    rows: list[Row]

    @property
    def slowdown(self) -> float:
        """How many times slower the profiler made it."""
        return self.profiled_ns / self.plain_ns


class Profile(_Record):
    """One case in one process that was profiled, and from which no figure is published."""

    case: str
    round: int
    phases: list[PhaseProfile]
    counters: dict[str, float] = Field(default_factory=dict)
    """Per decoded token: page faults, context switches, Python allocations, …"""
    ceilings: dict[str, float] = Field(default_factory=dict)
    """`read_bytes_per_s` and `gemm_flop_per_s`, measured in this process, where asked for."""
    facts: dict[str, object] = Field(default_factory=dict)
    """What the backend recorded, and threads."""
    notes: list[str] = Field(default_factory=list)
    """What could not be seen, and why."""

    def phase(self, name: str) -> PhaseProfile | None:
        """Return a phase; None where it was not profiled."""
        return next((p for p in self.phases if p.phase == name), None)

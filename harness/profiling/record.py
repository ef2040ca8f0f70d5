"""What a profile holds. A row is one operator called from one function; rows add up to the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from harness.store.record import Failure

__all__ = [
    "Alive",
    "Compiled",
    "Held",
    "Memory",
    "Phase",
    "PhaseProfile",
    "Profile",
    "Row",
    "Timeline",
]

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
    per_iteration: float | None = None
    """Calls of the phase in one iteration of the scenario; None where none ran to its end."""

    @property
    def slowdown(self) -> float:
        """How many times slower the profiler made it."""
        return self.profiled_ns / self.plain_ns


class Compiled(_Record):
    """What torch.compile did between the start of a process and the first profiled call."""

    graphs: int
    graph_breaks: list[str] = Field(default_factory=list)
    """File, line and reason."""
    recompiles: list[str] = Field(default_factory=list)
    """Which function, and the guard that failed."""
    kernels: int | None = None
    """That inductor generated; None where none of its code was made anew."""
    fused: int | None = None
    """Nodes that it fused away: those it had to schedule, less those that were left."""
    cache_hits: int = 0
    cache_misses: int = 0
    seconds: dict[str, float] = Field(default_factory=dict)
    """By phase of the compiler, each with what it called."""
    code: list[str] = Field(default_factory=list)
    """Files of generated code that were kept."""


class Alive(_Record):
    """Storage that was alive when tensors took the most."""

    bytes: int
    shape: list[int]
    dtype: str
    place: str
    """`harness/model/decoder.py:41 (step)`: whose operator made it."""
    phase: str


class Held(_Record):
    """What a phase held, at its end and at most."""

    phase: str
    tensor_bytes: int
    tensor_peak_bytes: int
    python_bytes: int
    python_peak_bytes: int
    allocations: int
    """Storages that operators made."""


class Timeline(_Record):
    """Tensors over time, by who made them."""

    ms: list[float]
    """Since the profiler's start, ascending; at most a few hundred moments."""
    owners: list[str]
    """`decoder.py:41 (step)`: those that held the most at the peak, the most first."""
    bytes: list[list[int]]
    """[owners + 1, moments]: what each holds at each moment, and last what all others hold."""
    phases: list[tuple[str, float]]
    """Name of each phase, and when it began, ms."""


class Memory(_Record):
    """Allocations of a process, tensors and Python objects apart."""

    phases: list[Held]
    timeline: Timeline | None
    largest: list[Alive]
    python: list[tuple[str, int]]
    """Lines of Python whose objects took the most at the end, with bytes."""

    @field_validator("timeline", mode="before")
    @classmethod
    def _of_before(cls, value: object) -> object:
        """Profiles of November 2026 kept a total only: no picture, yet all the rest is read."""
        return None if isinstance(value, list) else value


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
    compiled: Compiled | None = None
    """What the compiler did, where one was looked at."""
    memory: Memory | None = None
    """What was allocated, by whom, and what lived at the peak."""
    iteration_ns: float | None = None
    """Of the scenario, without a profiler: what sampled stacks are a share of."""
    files: dict[str, str] = Field(default_factory=dict)
    """Where the files lie that rows name by their last folders."""
    notes: list[str] = Field(default_factory=list)
    """What could not be seen, and why."""
    failure: Failure | None = None
    """Why nothing was seen."""

    def phase(self, name: str) -> PhaseProfile | None:
        """Return a phase; None where it was not profiled."""
        return next((p for p in self.phases if p.phase == name), None)

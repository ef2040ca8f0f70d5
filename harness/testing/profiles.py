"""A profile to try a report on: two phases, a compiler, memory, stacks. Nothing is measured."""

from __future__ import annotations

from harness.profiling.record import (
    Alive,
    Compiled,
    Held,
    Memory,
    Phase,
    PhaseProfile,
    Profile,
    Row,
    Timeline,
)
from harness.profiling.stored import profile_stem
from harness.store import Run

__all__ = ["example_profile", "store_profile"]

_MS = 1e6


def example_profile(case_id: str, name: str = "f") -> Profile:
    """Return a profile of 64 calls of 9 ms, 10 ms while profiled.

    Args:
        case_id: Of the case.
        name: Stands where functions, operators and files have their names: hostile ones too.
    """
    return Profile(
        case=case_id,
        round=0,
        phases=[_phase("prefill", 1, name), _phase("decode", 63, name)],
        counters={"py_spy_slowdown": 1.02, "minor_faults": 3.5},
        ceilings={"read_bytes_per_s": 1e10, "gemm_flop_per_s": 1e11},
        compiled=Compiled(graphs=2, graph_breaks=[f"a.py:1: {name}"], seconds={"whole": 3.0}),
        memory=Memory(
            phases=[
                Held(
                    phase="decode",
                    tensor_bytes=1 << 20,
                    tensor_peak_bytes=2 << 20,
                    python_bytes=1000,
                    python_peak_bytes=2000,
                    allocations=5,
                )
            ],
            timeline=Timeline(
                ms=[0.0, 1.0, 2.0],
                owners=[f"a.py:1 ({name})", "b.py:7 (step)"],
                bytes=[[1 << 20] * 3, [0, 1 << 20, 0], [0, 0, 4096]],
                phases=[("load", 0.0), ("decode", 0.5)],
            ),
            largest=[
                Alive(
                    bytes=1 << 20,
                    shape=[2, 3],
                    dtype="float32",
                    place="a.py:1 (f)",
                    phase="decode",
                )
            ],
            python=[("a.py:1", 1000)],
        ),
    )


def _phase(phase: Phase, per_iteration: float, name: str) -> PhaseProfile:
    linear = Row(
        operator="aten::linear",
        function="m/decoder.py:step",
        line=41,
        family="gemm",
        calls=30,
        ns=8 * _MS,
        bytes=4e7,
        flops=2e7,
    )
    copies = [
        Row(
            operator=f"aten::{name}{number}",
            function=f"m/{name}.py:{name}",
            family="copy",
            calls=1,
            ns=0.1 * _MS,
        )
        for number in range(20)
    ]
    return PhaseProfile(
        phase=phase,
        plain_ns=9 * _MS,
        profiled_ns=10 * _MS,
        rows=[linear, *copies],
        per_iteration=per_iteration,
    )


def store_profile(run: Run, profile: Profile, raw: str = "") -> None:
    """Keep a profile, and stacks as py-spy writes them, in a run's folder."""
    stem = profile_stem(run.path, profile.case)
    stem.parent.mkdir(exist_ok=True)
    stem.with_suffix(".json").write_text(profile.model_dump_json())
    if raw:
        stem.with_suffix(".raw").write_text(raw)

"""What torch.compile did in this process so far, read from where PyTorch counts it.

A fresh process whose caches are empty shows all of it: graphs, breaks, recompiles with the guard
that failed, kernels, time by phase. With caches there is less to see, and the hits say so.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.profiling.record import Compiled

__all__ = ["compiled"]

_PHASES = {
    "_compile.compile_inner": "whole",
    "entire_frame_compile": "whole",
    "bytecode_tracing": "tracing",
    "backend_compile": "backend",
    "OutputGraph.call_user_compiler": "backend",
    "create_aot_dispatcher_function": "ahead-of-time autograd",
    "compile_fx_inner": "inductor",
    "GraphLowering.run": "lowering",
    "Scheduler.codegen": "code generation",
    "Scheduler.fused_nodes": "fusion",
    "GraphLowering.compile_to_module": "compiling and loading",
    "PyCodeCache.load_by_key_path": "loading",
    "async_compile.wait": "waiting for the C++ compiler",
}
"""Names of torch._dynamo.utils.compilation_time_metrics in the words of who waits for them."""


def compiled(code: Path | None = None) -> Compiled:
    """Return what the compiler did; all counts are zero where it was never used.

    Args:
        code: Folder that gets the generated code; None keeps none.
    """
    if "torch._dynamo" not in sys.modules:
        return Compiled(graphs=0)
    from torch._dynamo.utils import (
        compilation_time_metrics,
        counters,
        get_compilation_metrics,
        graph_break_reasons,
    )

    inductor = counters["inductor"]
    hits = counters["aot_autograd"]["autograd_cache_hit"] + inductor["fxgraph_cache_hit"]
    misses = inductor["fxgraph_cache_miss"] + inductor["fxgraph_cache_bypass"]
    kernels, fused = _kernels()
    seconds: dict[str, float] = {}
    for name, each in compilation_time_metrics.items():
        words = _PHASES.get(name)
        if words is not None:
            seconds[words] = max(seconds.get(words, 0.0), round(float(sum(each)), 4))
    return Compiled(
        graphs=counters["stats"]["unique_graphs"],
        graph_breaks=[_broken(reason) for reason in graph_break_reasons],
        recompiles=list(_recompiled(get_compilation_metrics())),
        kernels=kernels,
        fused=fused,
        cache_hits=hits,
        cache_misses=misses,
        seconds=dict(sorted(seconds.items(), key=lambda item: -item[1])),
        code=_kept(code) if code is not None else [],
    )


def _kernels() -> tuple[int | None, int | None]:
    if "torch._inductor.metrics" not in sys.modules:
        return None, None
    from torch._inductor import metrics

    made = metrics.generated_kernel_count + metrics.generated_cpp_vec_kernel_count
    if not made and not metrics.ir_nodes_pre_fusion:
        return None, None
    return (
        metrics.generated_kernel_count,
        max(0, metrics.ir_nodes_pre_fusion - metrics.generated_kernel_count),
    )


def _recompiled(many: Iterable[Any]) -> Iterable[str]:
    for one in many:
        reason = getattr(one, "recompile_reason", None)
        if reason:
            place = f"{one.co_filename}:{one.co_firstlineno} ({one.co_name})"
            yield f"{place}: {' '.join(str(reason).split())}"


def _broken(reason: Any) -> str:
    frame = reason.user_stack[-1] if reason.user_stack else None
    place = f"{frame.filename}:{frame.lineno}" if frame else "place unknown"
    return f"{place}: {str(reason.reason).strip().splitlines()[0]}"


def _kept(folder: Path) -> list[str]:
    """Copy what inductor generated, the Python that calls kernels and the kernels' own source."""
    from torch._inductor.codecache import PyCodeCache

    kept = []
    for module in PyCodeCache.modules:
        file = Path(str(module.__file__))
        if file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / file.name)
            kept.append(file.name)
    return sorted(set(kept))

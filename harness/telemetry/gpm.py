"""GPU performance counters (GPM) of Hopper and later: how full the GPU was, not whether it ran.

Opt-in (HARNESS_NVML=gpm): only one reader may have them at a time (a profiler, DCGM). A value is
over the time between two samples, at least 0.1 s, as nvml.h asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.telemetry.nvml_door import Nvml, Refusal, RefusedError, refused

__all__ = ["GPM_UNITS", "Gpm"]

# NVML_GPM_METRIC_… in nvml.h.
_METRICS = {
    "sm_utilization_percent": 2,
    "tensor_utilization_percent": 5,
    "memory_bandwidth_percent": 10,
}
GPM_UNITS = dict.fromkeys(_METRICS, "%")
_SHORTEST_NS = 100_000_000


class Gpm:
    """The counters of one device: keeps the sample before."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._before: tuple[int, Any] | None = None

    def read(self, nvml: Nvml, handle: Any) -> dict[str, float | RefusedError]:
        """Return the mean of each counter since the reading before; the first has none."""
        if not nvml.call("nvmlGpmQueryDeviceSupport", handle).isSupportedDevice:
            raise refused("nvmlGpmQueryDeviceSupport", 3, "Not Supported")
        sample = nvml.call("nvmlGpmSampleAlloc")
        try:
            nvml.call("nvmlGpmSampleGet", handle, sample)
        except RefusedError:
            nvml.call("nvmlGpmSampleFree", sample)
            raise
        now_ns = self._now_ns()
        before, self._before = self._before, (now_ns, sample)
        if before is None:
            return dict.fromkeys(_METRICS, RefusedError(Refusal.PASSING, "needs two samples"))
        try:
            if now_ns - before[0] < _SHORTEST_NS:
                short = RefusedError(Refusal.PASSING, "two samples lie less than 0.1 s apart")
                return dict.fromkeys(_METRICS, short)
            return _between(nvml, before[1], sample)
        finally:
            nvml.call("nvmlGpmSampleFree", before[1])


def _between(nvml: Nvml, before: Any, after: Any) -> dict[str, float | RefusedError]:
    ask = nvml.binding.c_nvmlGpmMetricsGet_t()
    ask.version = nvml.binding.NVML_GPM_METRICS_GET_VERSION
    ask.numMetrics = len(_METRICS)
    ask.sample1, ask.sample2 = before, after
    for place, number in enumerate(_METRICS.values()):
        ask.metrics[place].metricId = number
    nvml.call("nvmlGpmMetricsGet", ask)
    found: dict[str, float | RefusedError] = {}
    for place, name in enumerate(_METRICS):
        answer = ask.metrics[place]
        code = int(answer.nvmlReturn)
        words = str(nvml.binding.NVMLError(code)) if code else ""
        found[name] = refused(f"GPM {name}", code, words) if code else float(answer.value)
    return found

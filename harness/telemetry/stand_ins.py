"""Older NVML calls in the place of what a driver does not know, under names that say what they are.

It must not know when anything is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.telemetry.gauges import Gauge, Values
from harness.telemetry.nvml_door import Nvml, Refusal, RefusedError

__all__ = ["stand_ins"]

# Drivers differ in which of the two they answer for a field that is newer than they are.
_UNKNOWN = (Refusal.OLD_DRIVER, Refusal.NOT_SUPPORTED)


def stand_ins(nvml: Nvml, handle: Any, refused: Mapping[str, RefusedError]) -> list[Gauge]:
    """Return older calls for quantities that newer ones can't give here."""
    unknown = {name for name, error in refused.items() if error.kind in _UNKNOWN}
    found = []
    if "memory_used_bytes" in unknown:
        found.append(_MEMORY_V1)
    if {"power_instant_w", "power_average_w"} <= unknown:
        found.append(_power_usage(nvml, handle))
    if "energy_j" in unknown:
        found.append(_ENERGY_CALL)
    return found


def _memory_v1(nvml: Nvml, handle: Any) -> Values:
    memory = nvml.call("nvmlDeviceGetMemoryInfo", handle)
    return {"memory_used_and_reserved_bytes": float(memory.used)}


def _energy(nvml: Nvml, handle: Any) -> Values:
    return {"energy_j": nvml.call("nvmlDeviceGetTotalEnergyConsumption", handle) / 1e3}


_MEMORY_V1 = Gauge("fast", {"memory_used_and_reserved_bytes": "bytes"}, _memory_v1, on_slice=True)
_ENERGY_CALL = Gauge("fast", {"energy_j": "J"}, _energy)


def _power_usage(nvml: Nvml, handle: Any) -> Gauge:
    """Return the older call under the name that says what it is on this GPU.

    nvml.h: an average over 1 s on Ampere and later, GA100 apart; instant on GA100 and before.
    """
    try:
        capability = tuple(nvml.call("nvmlDeviceGetCudaComputeCapability", handle))
        name = "power_instant_w" if capability <= (8, 0) else "power_average_w"
    except RefusedError:
        name = "power_usage_w"
    return Gauge(
        "fast",
        {name: "W"},
        lambda nvml, handle: {name: nvml.call("nvmlDeviceGetPowerUsage", handle) / 1e3},
    )

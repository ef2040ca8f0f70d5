"""What is read of a GPU through NVML, as a table: one gauge per call, its quantities, how often.

It must not know which devices there are, or what a refusal means for the next reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.contracts import Tier
from harness.telemetry.nvml_door import Nvml, Refusal, RefusedError, refused

__all__ = [
    "BATCHES",
    "FIELDS",
    "GAUGES",
    "MEANINGS",
    "Field",
    "Gauge",
    "Kind",
    "Tier",
    "Values",
    "batch",
    "kind_of",
    "read_fields",
]

Kind = Literal["gauge", "counter", "state"]
Values = Mapping[str, "float | RefusedError"]
"""What one call gave, by quantity."""


@dataclass(frozen=True)
class Gauge:
    """One NVML call and the quantities it gives."""

    tier: Tier
    units: Mapping[str, str]
    """Quantity to unit."""
    read: Callable[[Nvml, Any], Values]
    """Called with a device's handle; RefusedError where the whole call is refused."""
    on_slice: bool = False
    """Whether a MIG device has it too; all else is the whole GPU's."""
    extra: str = ""
    """Read only where HARNESS_NVML names this word: it costs time, or changes what it reads."""


@dataclass(frozen=True)
class Field:
    """A quantity of a `nvmlDeviceGetFieldValues` batch: many sensors in one call."""

    name: str
    unit: str
    tier: Tier
    number: int
    """NVML_FI_DEV_… in nvml.h."""
    scale: float


FIELDS = (
    Field("power_instant_w", "W", "fast", 186, 1e-3),
    Field("power_average_w", "W", "fast", 185, 1e-3),
    Field("energy_j", "J", "fast", 83, 1e-3),
    Field("memory_temperature_c", "°C", "slow", 82, 1.0),
)


def read_fields(nvml: Nvml, handle: Any, fields: Sequence[Field]) -> Values:
    """Read some fields in one call; a field may be refused while the others are not."""
    found = nvml.call("nvmlDeviceGetFieldValues", handle, [field.number for field in fields])
    return {
        field.name: (
            refused(f"field {field.number}", int(answer.nvmlReturn), _name(nvml, answer.nvmlReturn))
            if answer.nvmlReturn
            else _number(answer) * field.scale
        )
        for field, answer in zip(fields, found, strict=True)
    }


def _name(nvml: Nvml, code: int) -> str:
    return str(nvml.binding.NVMLError(code))


def _number(answer: Any) -> float:
    """Return a field's value; which member of the union holds it, the answer says."""
    kinds = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    kind = int(answer.valueType)
    if kind >= len(kinds):
        raise refused("nvmlDeviceGetFieldValues", 999, f"unknown value type {kind}")
    return float(getattr(answer.value, kinds[kind]))


def _utilization(nvml: Nvml, handle: Any) -> Values:
    rates = nvml.call("nvmlDeviceGetUtilizationRates", handle)
    return {
        "utilization_percent": float(rates.gpu),
        "memory_utilization_percent": float(rates.memory),
    }


def _memory(nvml: Nvml, handle: Any) -> Values:
    version = nvml.binding.nvmlMemory_v2
    memory = nvml.call("nvmlDeviceGetMemoryInfo", handle, version)
    return {
        "memory_used_bytes": float(memory.used),
        "memory_reserved_bytes": float(memory.reserved),
        "memory_free_bytes": float(memory.free),
    }


def _clock(name: str, kind: str) -> Callable[[Nvml, Any], Values]:
    def read(nvml: Nvml, handle: Any) -> Values:
        kinds = {"sm": nvml.binding.NVML_CLOCK_SM, "memory": nvml.binding.NVML_CLOCK_MEM}
        return {name: float(nvml.call("nvmlDeviceGetClockInfo", handle, kinds[kind]))}

    return read


def _events(nvml: Nvml, handle: Any) -> Values:
    try:
        bits = nvml.call("nvmlDeviceGetCurrentClocksEventReasons", handle)
    except RefusedError as error:
        if error.kind is not Refusal.OLD_DRIVER:
            raise
        bits = nvml.call("nvmlDeviceGetCurrentClocksThrottleReasons", handle)  # its older name
    return {"clock_events_bits": float(bits)}


def _temperature(nvml: Nvml, handle: Any) -> Values:
    sensor = nvml.binding.NVML_TEMPERATURE_GPU
    return {"temperature_c": float(nvml.call("nvmlDeviceGetTemperature", handle, sensor))}


def _ecc(name: str, kind: int) -> Callable[[Nvml, Any], Values]:
    def read(nvml: Nvml, handle: Any) -> Values:
        since_boot = nvml.binding.NVML_VOLATILE_ECC
        count = nvml.call("nvmlDeviceGetTotalEccErrors", handle, kind, since_boot)
        return {name: float(count)}

    return read


def _mig(nvml: Nvml, handle: Any) -> Values:
    return {"mig_enabled": float(nvml.call("nvmlDeviceGetMigMode", handle)[0])}


def _state(nvml: Nvml, handle: Any) -> Values:
    state = int(nvml.call("nvmlDeviceGetPerformanceState", handle))
    if state == nvml.binding.NVML_PSTATE_UNKNOWN:
        raise refused("nvmlDeviceGetPerformanceState", 999, "unknown state")
    return {"performance_state": float(state)}


def _pcie(name: str, kind: int) -> Callable[[Nvml, Any], Values]:
    def read(nvml: Nvml, handle: Any) -> Values:
        kilobytes = nvml.call("nvmlDeviceGetPcieThroughput", handle, kind)
        return {name: float(kilobytes) * 1e3}

    return read


def _limits(nvml: Nvml, handle: Any) -> Values:
    return {"power_limit_w": nvml.call("nvmlDeviceGetEnforcedPowerLimit", handle) / 1e3}


def _total(nvml: Nvml, handle: Any) -> Values:
    return {"memory_total_bytes": float(nvml.call("nvmlDeviceGetMemoryInfo", handle).total)}


GAUGES = (
    Gauge(
        "fast", {"utilization_percent": "%", "memory_utilization_percent": "%"}, _utilization
    ),
    Gauge(
        "fast",
        {
            "memory_used_bytes": "bytes",
            "memory_reserved_bytes": "bytes",
            "memory_free_bytes": "bytes",
        },
        _memory,
        on_slice=True,
    ),
    Gauge("fast", {"sm_clock_mhz": "MHz"}, _clock("sm_clock_mhz", "sm")),
    Gauge("fast", {"memory_clock_mhz": "MHz"}, _clock("memory_clock_mhz", "memory")),
    Gauge("fast", {"clock_events_bits": "bits"}, _events),
    Gauge("slow", {"temperature_c": "°C"}, _temperature),
    Gauge("slow", {"ecc_corrected": "errors"}, _ecc("ecc_corrected", 0)),
    Gauge("slow", {"ecc_uncorrected": "errors"}, _ecc("ecc_uncorrected", 1)),
    Gauge("slow", {"mig_enabled": "on"}, _mig),
    Gauge("slow", {"performance_state": "P"}, _state),
    Gauge("slow", {"pcie_sent_bytes_per_s": "bytes/s"}, _pcie("pcie_sent_bytes_per_s", 0),
          extra="pcie"),
    Gauge("slow", {"pcie_received_bytes_per_s": "bytes/s"}, _pcie("pcie_received_bytes_per_s", 1),
          extra="pcie"),
    Gauge("boundary", {"power_limit_w": "W"}, _limits),
    Gauge("boundary", {"memory_total_bytes": "bytes"}, _total, on_slice=True),
)  # fmt: skip


def batch(fields: Sequence[Field]) -> Gauge:
    """Return a gauge that reads fields of one tier in one call."""
    return Gauge(
        fields[0].tier,
        {field.name: field.unit for field in fields},
        lambda nvml, handle: read_fields(nvml, handle, fields),
    )


_ENERGY = [field for field in FIELDS if field.name == "energy_j"]


def _boundary_energy(nvml: Nvml, handle: Any) -> Values:
    # The same field as between phases: the counter's own function may be a step ahead of it.
    (value,) = read_fields(nvml, handle, _ENERGY).values()
    return {"boundary_energy_j": value}


BATCHES = (
    *(batch([field for field in FIELDS if field.tier == tier]) for tier in ("fast", "slow")),
    Gauge("boundary", {"boundary_energy_j": "J"}, _boundary_energy),
)
"""The sensors that are read many in a call."""


_COUNTERS = {"energy_j", "boundary_energy_j", "ecc_corrected", "ecc_uncorrected"}
_STATES = {"clock_events_bits", "mig_enabled", "performance_state", "memory_total_bytes"}


def kind_of(name: str) -> Kind:
    """Say what a quantity's values are to a phase: a difference, a mean, or neither."""
    if name in _COUNTERS:
        return "counter"
    return "state" if name in _STATES or name.endswith("_update_s") else "gauge"


MEANINGS = {
    "utilization_percent": "share of the sensor's window (1/6 to 1 s) in which some kernel ran, "
    "not how full the GPU was",
    "memory_utilization_percent": "share of the window in which device memory was read or written",
    "memory_used_bytes": "allocated on the device by all processes, without what is reserved",
    "memory_reserved_bytes": "kept by driver and firmware",
    "power_instant_w": "power at the sensor's last update",
    "power_average_w": "power averaged over the last second: at a phase's edge it is the past's",
    "power_usage_w": "power as older drivers give it; whether instant or a 1-s average is unknown",
    "energy_j": "energy since the driver was loaded; steps at each update of the counter",
    "clock_events_bits": "why the clock is where it is; see harness.telemetry.clock_events",
    "sm_clock_mhz": "clock of the streaming multiprocessors at this moment",
}

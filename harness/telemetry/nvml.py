"""GPUs through NVML: each device's sensors, read in three tiers; refusals as reasons.

A device that is lost is marked and left alone, the others go on. A sensor that is not there is
asked for once. It must not know about phases, files or deadlines.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.contracts import Availability, Quantity, Sampler, Watched
from harness.reading import Reading
from harness.telemetry.gauges import (
    FIELDS,
    GAUGES,
    MEMORY_V1,
    Field,
    Gauge,
    Values,
    kind_of,
    read_fields,
)
from harness.telemetry.gpm import GPM_UNITS, Gpm
from harness.telemetry.gpus import choose, find_gpus
from harness.telemetry.nvml_door import Nvml, Refusal, RefusedError
from harness.telemetry.periods import update_periods
from harness.telemetry.tenants import TENANT_UNITS, Tenant, family, living, tenants

__all__ = ["EXTRAS", "NvmlSampler"]

EXTRAS = ("pcie", "gpm")
"""What HARNESS_NVML may name, with commas between: counters that cost time or disturb."""

_Found = dict[tuple[str, str], Reading]


@dataclass
class _Device:
    """A GPU or MIG device that is watched."""

    uuid: str
    handle: Any
    gauges: list[Gauge] = field(default_factory=list)
    """Those that answered when probed."""
    here: set[str] = field(default_factory=set)
    """Quantities that are read; a gauge may give one and lack another."""
    lost: str | None = None
    """Why it is not asked any more."""


class NvmlSampler(Sampler):
    """Reads the GPUs that a run uses, and what others do on them and beside them."""

    summary = "NVIDIA GPUs: power, energy, clocks and why, memory, utilization, tenants"

    def __init__(
        self,
        *,
        environment: Mapping[str, str] = os.environ,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._environment = environment
        self._now_ns = now_ns
        self._sleep = sleep
        self._nvml = Nvml(now_ns)
        self._devices: list[_Device] = []
        self._tenants_here: dict[str, bool] = {}
        self._periods: dict[tuple[str, str], Reading] = {}
        self._worker: int | None = None
        self._facts: dict[str, Any] = {}

    def availability(self) -> Availability:
        """Yes where NVML starts and counts a GPU."""
        return self._nvml.availability()

    def follow(self, worker_pid: int | None) -> None:
        """Take this process and its children for the worker from now on."""
        self._worker = worker_pid

    def facts(self) -> Mapping[str, Any]:
        """Driver and library, and the GPUs that are watched and why."""
        return self._facts

    def close(self) -> None:
        """Give NVML back."""
        self._devices = []
        self._nvml.stop()

    def open(self, watched: Watched) -> Sequence[Quantity]:
        """Start NVML, choose the devices, probe each sensor once, time the counters' updates."""
        self._worker = watched.worker_pid
        try:
            self._nvml.start()
            gpus, handles, silent = find_gpus(self._nvml)
        except RefusedError as error:
            self._nvml.stop()
            return [Quantity("gpus", "devices", tier="boundary", reason=error.reason)]
        chosen = choose(watched.devices, self._environment, gpus)
        self._facts = {
            "driver": self._word("nvmlSystemGetDriverVersion"),
            "nvml": self._word("nvmlSystemGetNVMLVersion"),
            "gpus": {gpu.uuid: gpu.name for gpu in gpus},
            "used": list(chosen.used),
            "doubt": chosen.doubt,
        }
        quantities = [_nowhere(name, why) for name, why in {**silent, **chosen.missing}.items()]
        if chosen.doubt:
            quantities.append(Quantity("visible", "devices", tier="boundary", reason=chosen.doubt))
        for uuid in chosen.used:
            quantities += self._add(uuid, handles[uuid], self._gauges(uuid))
            quantities += self._add_tenants(uuid)
        for uuid in chosen.others:
            quantities += self._add(uuid, handles[uuid], _NEIGHBOUR)
        quantities += self._time_updates(chosen.used)
        quantities.append(Quantity("slowest_call_ms", "ms", tier="boundary"))
        self._nvml.forget_slowest()
        return quantities

    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        """Read what is here of a tier; a device that was lost gives its reason, uncalled."""
        found: _Found = {}
        for device in self._devices:
            for gauge in device.gauges:
                if gauge.tier == tier:
                    found |= self._read_gauge(device, gauge)
            if tier == "boundary" and self._tenants_here.get(device.uuid):
                found |= self._read_tenants(device)
        if tier == "boundary" and self._nvml.binding is not None:
            found |= self._periods
            found["", "slowest_call_ms"] = self._slowest()
        return found

    def _word(self, function: str) -> str:
        try:
            return str(self._nvml.call(function))
        except RefusedError as error:
            return error.reason

    # -- reading

    def _read_gauge(self, device: _Device, gauge: Gauge) -> _Found:
        names = [name for name in gauge.units if name in device.here]
        values = self._ask(device, gauge.read, names)
        return {(device.uuid, name): _reading(values[name]) for name in names}

    def _ask(
        self, device: _Device, read: Callable[[Nvml, Any], Values], names: Iterable[str]
    ) -> Values:
        """Call NVML once; a refusal stands for each quantity. Marks the device where it is lost."""
        if device.lost:
            return dict.fromkeys(names, RefusedError(Refusal.LOST, device.lost))
        try:
            values = read(self._nvml, device.handle)
        except RefusedError as error:
            values = dict.fromkeys(names, error)
        for value in values.values():
            if isinstance(value, RefusedError) and value.kind is Refusal.LOST:
                device.lost = value.reason
        return values

    def _read_tenants(self, device: _Device) -> _Found:
        values = self._ask(device, self._tenants, TENANT_UNITS)
        return {(device.uuid, name): _reading(value) for name, value in values.items()}

    def _tenants(self, nvml: Nvml, handle: Any) -> Values:
        listed = [
            Tenant(int(found.pid), found.usedGpuMemory)
            for found in nvml.call("nvmlDeviceGetComputeRunningProcesses", handle)
        ]
        ours = family([self._worker] if self._worker is not None else [])
        seen = tenants(listed, ours, living([tenant.pid for tenant in listed]))
        return {
            name: RefusedError(Refusal.PASSING, value) if isinstance(value, str) else value
            for name, value in seen.items()
        }

    def _slowest(self) -> Reading:
        function, took_ns = self._nvml.forget_slowest()
        return Reading(value=took_ns / 1e6) if function else Reading.absent("no call was made")

    # -- probing

    def _gauges(self, uuid: str) -> list[Gauge]:
        """Return what to try on a device that is used."""
        asked = {word.strip() for word in self._environment.get("HARNESS_NVML", "").split(",")}
        gauges = [
            gauge
            for gauge in GAUGES
            if (not gauge.extra or gauge.extra in asked)
            and (gauge.on_slice or not uuid.startswith("MIG-"))
        ]
        if uuid.startswith("MIG-"):
            return gauges
        gauges += [_batch(FIELDS, tier) for tier in ("fast", "slow")]
        gauges.append(_BOUNDARY_ENERGY)
        if "gpm" in asked:
            gauges.append(Gauge("slow", GPM_UNITS, Gpm(self._now_ns).read))
        return gauges

    def _add(self, uuid: str, handle: Any, gauges: Sequence[Gauge]) -> list[Quantity]:
        """Probe a device's gauges and keep those that answer."""
        device = _Device(uuid, handle)
        quantities: list[Quantity] = []
        tried = list(gauges)
        while tried:
            gauge = tried.pop(0)
            values = self._ask(device, gauge.read, gauge.units)
            final = _final(values)
            kept = set(gauge.units) - set(final)
            if "memory_used_bytes" in final and final["memory_used_bytes"].kind == "old-driver":
                tried.insert(0, MEMORY_V1)
            if "power_instant_w" in final and "power_average_w" in final and not device.lost:
                tried.insert(0, _power_usage(self._nvml, handle))
            device.here |= kept
            if kept:
                device.gauges.append(_narrowed(gauge, kept))
            quantities += [
                Quantity(name, unit, uuid, gauge.tier, _reason(final, name), kind_of(name))
                for name, unit in gauge.units.items()
            ]
        self._devices.append(device)
        return quantities

    def _add_tenants(self, uuid: str) -> list[Quantity]:
        device = next(device for device in self._devices if device.uuid == uuid)
        values = self._ask(device, self._tenants, TENANT_UNITS)
        final = _final(values)
        self._tenants_here[uuid] = not final
        return [
            Quantity(name, unit, uuid, "boundary", _reason(final, name))
            for name, unit in TENANT_UNITS.items()
        ]

    def _time_updates(self, used: Sequence[str]) -> list[Quantity]:
        """Measure how often energy counter and power sensor change, for the energy's bound."""
        watched = [
            (device.uuid, device.handle, [f for f in FIELDS if f.name in device.here & _TIMED])
            for device in self._devices
            if device.uuid in used and not device.lost
        ]
        quantities = []
        for (uuid, name), reading in update_periods(
            self._nvml, watched, now_ns=self._now_ns, sleep=self._sleep
        ).items():
            period = f"{name}_update_s"
            kind = kind_of(period)
            quantities.append(Quantity(period, "s", uuid, "boundary", reading.reason, kind))
            if reading.value is not None:
                self._periods[uuid, period] = reading
        return quantities


_TIMED = {"energy_j", "power_instant_w"}


def _final(values: Values) -> dict[str, RefusedError]:
    """Return the refusals that asking again can't help."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, RefusedError) and value.kind.final
    }


def _reason(refusals: Mapping[str, RefusedError], name: str) -> str | None:
    return refusals[name].reason if name in refusals else None


def _reading(value: float | RefusedError) -> Reading:
    if isinstance(value, RefusedError):
        return Reading.absent(value.reason)
    return Reading(value=value)


def _nowhere(device: str, why: str) -> Quantity:
    return Quantity("gpu", "device", device, "boundary", why)


def _batch(fields: Sequence[Field], tier: str) -> Gauge:
    """Return a gauge that reads all fields of a tier in one call."""
    chosen = [f for f in fields if f.tier == tier]
    return Gauge(
        chosen[0].tier,
        {f.name: f.unit for f in chosen},
        lambda nvml, handle: read_fields(nvml, handle, chosen),
    )


def _narrowed(gauge: Gauge, kept: set[str]) -> Gauge:
    """Return a gauge that no longer asks for fields which are not there."""
    fields = [f for f in FIELDS if f.name in gauge.units]
    if not fields or kept == set(gauge.units):
        return gauge
    return _batch([f for f in fields if f.name in kept], gauge.tier)


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


def _counter(nvml: Nvml, handle: Any) -> Values:
    # The same field as between phases: the counter's other function may be a step ahead of it.
    (value,) = read_fields(nvml, handle, _ENERGY).values()
    return {"boundary_energy_j": value}


_ENERGY = [f for f in FIELDS if f.name == "energy_j"]
_BOUNDARY_ENERGY = Gauge("boundary", {"boundary_energy_j": "J"}, _counter)
# A GPU beside those that are used: little is asked, and seldom.
_NEIGHBOUR = tuple(
    replace(gauge, tier="slow") for gauge in GAUGES if "utilization_percent" in gauge.units
)

"""GPUs through NVML, as a sampler: which are watched, read in three tiers; refusals as reasons.

A device that is lost is marked and left alone, the others go on. A sensor that is not there is
asked for once. It must not know about phases, files or deadlines.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.contracts import Availability, Quantity, Sampler, Watched
from harness.reading import Reading
from harness.telemetry.gauges import BATCHES, FIELDS, GAUGES, Gauge, Values, kind_of
from harness.telemetry.gpm import GPM_UNITS, Gpm
from harness.telemetry.gpus import choose, find_gpus
from harness.telemetry.nvml_device import Device
from harness.telemetry.nvml_door import Nvml, Refusal, RefusedError
from harness.telemetry.periods import update_periods
from harness.telemetry.tenants import TENANT_UNITS, Tenant, family, living, tenants

__all__ = ["EXTRAS", "NvmlSampler"]

EXTRAS = ("pcie", "gpm")
"""What HARNESS_NVML may name, with commas between: counters that cost time or disturb."""

_TIMED = {"energy_j", "power_instant_w"}
# A GPU beside those that are used: little is asked, and seldom.
_NEIGHBOUR = tuple(
    replace(gauge, tier="slow") for gauge in GAUGES if "utilization_percent" in gauge.units
)


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
        self._devices: list[Device] = []
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
            quantities += self._add(uuid, handles[uuid], list(self._gauges(uuid)))
        for uuid in chosen.others:
            quantities += self._add(uuid, handles[uuid], _NEIGHBOUR)
        quantities += self._time_updates(chosen.used)
        quantities.append(Quantity("slowest_call_ms", "ms", tier="boundary"))
        self._nvml.forget_slowest()
        return quantities

    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        """Read what is here of a tier; a device that was lost gives its reason, uncalled."""
        found: dict[tuple[str, str], Reading] = {}
        for device in self._devices:
            found |= device.read(tier)
        if tier == "boundary" and self._nvml.binding is not None:
            found |= self._periods
            found["", "slowest_call_ms"] = self._slowest()
        return found

    def _word(self, function: str) -> str:
        try:
            return str(self._nvml.call(function))
        except RefusedError as error:
            return error.reason

    def _slowest(self) -> Reading:
        function, took_ns = self._nvml.forget_slowest()
        return Reading(value=took_ns / 1e6) if function else Reading.absent("no call was made")

    def _add(self, uuid: str, handle: Any, gauges: Sequence[Gauge]) -> list[Quantity]:
        device = Device(self._nvml, uuid, handle)
        self._devices.append(device)
        return device.probe(gauges)

    def _gauges(self, uuid: str) -> Iterator[Gauge]:
        """Yield what to try on a device that is used; most sensors are the whole GPU's."""
        asked = {word.strip() for word in self._environment.get("HARNESS_NVML", "").split(",")}
        whole = not uuid.startswith("MIG-")
        for gauge in GAUGES:
            if (whole or gauge.on_slice) and (not gauge.extra or gauge.extra in asked):
                yield gauge
        yield Gauge("boundary", TENANT_UNITS, self._tenants)
        if whole:
            yield from BATCHES
            if "gpm" in asked:
                yield Gauge("slow", GPM_UNITS, Gpm(self._now_ns).read)

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

    def _time_updates(self, used: Sequence[str]) -> list[Quantity]:
        """Measure how often energy counter and power sensor change, for the energy's bound."""
        watched = [
            (device.uuid, device.handle, [f for f in FIELDS if f.name in _TIMED & _read_by(device)])
            for device in self._devices
            if device.uuid in used and not device.lost
        ]
        found = update_periods(self._nvml, watched, now_ns=self._now_ns, sleep=self._sleep)
        self._periods = {
            (uuid, f"{name}_update_s"): reading
            for (uuid, name), reading in found.items()
            if reading.value is not None
        }
        return [
            Quantity(period, "s", uuid, "boundary", reading.reason, kind_of(period))
            for (uuid, name), reading in found.items()
            for period in [f"{name}_update_s"]
        ]


def _read_by(device: Device) -> set[str]:
    return {field.name for field in FIELDS if device.reads(field.name)}


def _nowhere(device: str, why: str) -> Quantity:
    return Quantity("gpu", "device", device, "boundary", why)

"""The GPUs and MIG devices that NVML shows, and which of them a run watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.telemetry.nvml_door import Nvml, RefusedError
from harness.telemetry.visible import Gpu, Slice, nvml_uuid, visible

__all__ = ["Chosen", "choose", "devices_used", "find_gpus"]


@dataclass(frozen=True)
class Chosen:
    """Which devices a run uses, by UUID, and which others are on the machine."""

    used: tuple[str, ...]
    """GPUs and MIG devices; a MIG device's GPU is among them, for it has the sensors."""
    others: tuple[str, ...]
    """GPUs that the run does not use: what they do is a disturbance."""
    missing: Mapping[str, str]
    """UUIDs that were asked for and are not here, with the reason."""
    doubt: str | None = None
    """What is not sure about the choice."""


def find_gpus(nvml: Nvml) -> tuple[list[Gpu], dict[str, Any], dict[str, str]]:
    """Return the GPUs, the handle of each GPU and MIG device by UUID, and what did not answer.

    A GPU that does not answer (fallen off the bus) is left out and named; the others stay.
    """
    gpus: list[Gpu] = []
    handles: dict[str, Any] = {}
    silent: dict[str, str] = {}
    for index in range(nvml.call("nvmlDeviceGetCount")):
        try:
            handle = nvml.call("nvmlDeviceGetHandleByIndex", index)
            uuid = str(nvml.call("nvmlDeviceGetUUID", handle))
            name = str(nvml.call("nvmlDeviceGetName", handle))
            bus = _word(nvml.call("nvmlDeviceGetPciInfo", handle).busId)
        except RefusedError as error:
            silent[f"gpu{index}"] = error.reason
            continue
        slices, slice_handles = _slices(nvml, handle)
        handles |= {uuid: handle} | slice_handles
        gpus.append(Gpu(uuid, name, bus, slices))
    return gpus, handles, silent


def _slices(nvml: Nvml, handle: Any) -> tuple[tuple[Slice, ...], dict[str, Any]]:
    try:
        if not nvml.call("nvmlDeviceGetMigMode", handle)[0]:
            return (), {}
        most = nvml.call("nvmlDeviceGetMaxMigDeviceCount", handle)
    except RefusedError:
        return (), {}  # no MIG on this GPU
    found: list[Slice] = []
    handles: dict[str, Any] = {}
    for index in range(most):
        try:
            part = nvml.call("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
            uuid = str(nvml.call("nvmlDeviceGetUUID", part))
            gpu_instance = nvml.call("nvmlDeviceGetGpuInstanceId", part)
            compute_instance = nvml.call("nvmlDeviceGetComputeInstanceId", part)
        except RefusedError:
            continue  # places for slices may be empty
        found.append(Slice(uuid, gpu_instance, compute_instance))
        handles[uuid] = part
    return tuple(found), handles


def devices_used(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the UUID of the GPU or MIG device that torch's `cuda` means: the first visible one.

    Empty where that can't be told; the sampler then watches all that are visible, and says why.
    """
    nvml = Nvml()
    try:
        nvml.start()
        gpus, _, _ = find_gpus(nvml)
    except RefusedError:
        return ()
    finally:
        nvml.stop()
    seen = visible(environment, gpus)
    # Without CUDA_VISIBLE_DEVICES, CUDA's order is NVML's only where it is by bus or all are alike.
    alike = len({gpu.name for gpu in gpus}) == 1
    by_bus = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if seen.doubt or not (alike or by_bus or "CUDA_VISIBLE_DEVICES" in environment):
        return ()
    return seen.uuids[:1]


def choose(asked: Sequence[str], environment: Mapping[str, str], gpus: Sequence[Gpu]) -> Chosen:
    """Return what to watch: the UUIDs asked for, or else what CUDA would see."""
    missing: dict[str, str] = {}
    doubt = None
    if asked:
        wanted = []
        for uuid in asked:
            known = nvml_uuid(uuid, gpus)
            if known is None:
                here = ", ".join(gpu.uuid for gpu in gpus) or "none"
                missing[uuid] = f"no GPU here has this UUID; here: {here}"
            else:
                wanted.append(known)
    else:
        seen = visible(environment, gpus)
        wanted, doubt = list(seen.uuids), seen.doubt
    used = list(wanted)
    for gpu in gpus:
        if gpu.uuid not in used and any(part.uuid in used for part in gpu.slices):
            used.append(gpu.uuid)
    others = tuple(gpu.uuid for gpu in gpus if gpu.uuid not in used)
    return Chosen(tuple(used), others, missing, doubt)


def _word(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
